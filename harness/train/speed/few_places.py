"""Convolutions of which only a few places come out, as products of matrices: on a CPU, and the same to rounding.

The last stages of a network see 1x1 or 2x2 places of a small image. There most of a kernel lies on the padding, and the
library's convolutions spend most of their time on zeros and on reordering weights. Here a place that comes out is the
sum of products of the places that go in and of the taps between them, and nothing else is computed. Images have
channels last, where a place is a matrix (n, channels) as it stands; weights keep their shape, but lie tap by tap in
memory, (kernel, kernel, out, in), where each tap is one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.networks.backbones import Model

MOST_PLACES = 9
MOST_PRODUCTS = 49
"""So many places that come out, and pairs of one with one that goes in, were faster: 3x3 at 1x1 has 1 pair, at 2x2 16,
at 3x3 49; at 4x4 (100) it was slower."""
LEAST_CHANNELS = 128
"""Of input and output where there is more than one pair; with fewer, products take longer to begin than to compute."""

_Place: TypeAlias = tuple[int, int]
_Pair: TypeAlias = tuple[_Place, _Place, _Place]


@dataclass(frozen=True)
class _Geometry:
    out: _Place
    """Rows and columns that come out."""
    pairs: tuple[_Pair, ...]
    """An outgoing place, an incoming one, and the tap between them; tap by tap."""


def use_products(model: Model, images: Tensor) -> None:
    """Let a network's plain convolutions, also those that a method has added, compute few places as products.

    Whether one does is decided at each call. Modules, parameters, their names and shapes stay as they are.

    Args:
        model: it is left in evaluation mode; nothing happens on a GPU.
        images: float32, shape (n, 3, size, size), on its device and of the size that it will see.
    """
    if images.device.type != "cpu":
        return
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d) and _is_plain(module)]
    handles = [conv.register_forward_hook(_lay_out) for conv in convs]
    with torch.no_grad():
        model.eval()(images)
    for handle in handles:
        handle.remove()
    for conv in convs:
        vars(conv)["_conv_forward"] = partial(_convolve, *_movement(conv))


def _is_plain(conv: nn.Conv2d) -> bool:
    usual = type(conv)._conv_forward is nn.Conv2d._conv_forward and conv.padding_mode == "zeros"
    return usual and conv.groups == 1 and set(conv.dilation) == {1} and not isinstance(conv.padding, str)


def _movement(conv: nn.Conv2d) -> tuple[_Place, _Place]:
    """Stride and padding along rows and columns."""
    assert not isinstance(conv.padding, str)
    (down, right), (above, left) = conv.stride, conv.padding
    return (down, right), (above, left)


def _lay_out(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Have a convolution's weight lie tap by tap where it is used so."""
    assert isinstance(conv, nn.Conv2d)
    shape = conv.weight.shape
    if _geometry(tuple(inputs[0].shape[2:]), tuple(shape), *_movement(conv)) is not None:
        # A method may have hidden the parameter behind a parametrisation of the weight.
        for parameter in conv.parameters():
            if parameter.shape == shape:
                parameter.data = parameter.data.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)


def _convolve(stride: _Place, padding: _Place, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    single = images.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    # A compiler is to see the convolution.
    plain = images.dim() == 4 and not torch.compiler.is_compiling()
    geometry = _geometry(tuple(images.shape[2:]), tuple(weight.shape), stride, padding) if single and plain else None
    if geometry is None:
        return F.conv2d(images, weight, bias, stride, padding)
    value: Tensor = _Products.apply(images, weight, geometry)
    return value if bias is None else value + bias.view(-1, 1, 1)


@lru_cache(maxsize=1024)
def _geometry(size: Any, shape: Any, stride: _Place, padding: _Place) -> _Geometry | None:
    """Which places meet through which taps; None where another way is faster."""
    (high, rows), (wide, columns) = (_axis(*axis) for axis in zip(size, shape[2:], stride, padding, strict=True))
    count = len(rows) * len(columns)
    least = 1 if count == 1 else LEAST_CHANNELS
    if high * wide > MOST_PLACES or not 0 < count <= MOST_PRODUCTS or min(shape[:2]) < least:
        return None
    pairs = [((o, p), (i, j), (t, u)) for o, i, t in rows for p, j, u in columns]
    return _Geometry((high, wide), tuple(sorted(pairs, key=lambda pair: pair[2])))


def _axis(size: int, kernel: int, stride: int, padding: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Places that come out along one axis, and (outgoing place, incoming place, tap) of each pair."""
    count = (size + 2 * padding - kernel) // stride + 1
    pairs = [(out, out * stride - padding + tap, tap) for out in range(count) for tap in range(kernel)]
    return count, [pair for pair in pairs if 0 <= pair[1] < size]


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(images: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
        inputs, taps = _places(images), _taps(weight)
        outputs = _empty(images, len(weight), geometry.out)
        _sum(_places(outputs), ((out, inputs[place], taps[tap].t()) for out, place, tap in geometry.pairs))
        return outputs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, weight, ctx.geometry = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        # Differentiable operations on what was saved, so that gradients of gradients are right too.
        images, weight = ctx.saved_tensors
        pairs, outputs = ctx.geometry.pairs, _places(gradient)
        to_images = to_weight = None
        if ctx.needs_input_grad[0]:
            taps = _taps(weight)
            to_images = _empty(images, images.shape[1], (images.shape[2], images.shape[3]))
            _sum(_places(to_images), ((place, outputs[out], taps[tap]) for out, place, tap in pairs))
        if ctx.needs_input_grad[1]:
            inputs = _places(images)
            sums = weight.new_empty(*weight.shape[2:], *weight.shape[:2])
            _sum(sums, ((tap, outputs[out].t(), inputs[place]) for out, place, tap in pairs))
            to_weight = sums.permute(2, 3, 0, 1)
        return to_images, to_weight, None


def _sum(grid: Tensor, products: Iterable[tuple[_Place, Tensor, Tensor]]) -> None:
    """Fill the matrices of a grid (rows, columns, m, n) with the sums of the products that are meant for each."""
    missing = set(itertools.product(range(grid.shape[0]), range(grid.shape[1])))
    for cell, left, right in products:
        # A first product overwrites what happens to be in the memory.
        grid[cell].addmm_(left, right, beta=0 if cell in missing else 1)
        missing.discard(cell)
    for cell in missing:
        grid[cell].zero_()


def _empty(like: Tensor, channels: int, places: _Place) -> Tensor:
    shape = (len(like), channels, *places)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _places(images: Tensor) -> Tensor:
    """(n, channels, height, width) as a matrix (n, channels) for each place: without a copy where channels are last."""
    return images.contiguous(memory_format=torch.channels_last).permute(2, 3, 0, 1)


def _taps(weight: Tensor) -> Tensor:
    """A matrix (out, in) for each tap: without a copy where the weight lies so in memory."""
    return weight.permute(2, 3, 0, 1).contiguous()
