"""W as CUDA kernels: one pass over x forward, one backward, with the sums of a channel made in a fixed order.

The module imports without triton; only ``kernels`` needs it. Checked on a CPU by triton's interpreter, which says
nothing of speed; not yet run on a GPU.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.activations.formulas import Formula
from harness.activations.window import REACH, Window
from harness.core.errors import RequestError

if importlib.util.find_spec("triton") is not None:
    triton: Any = importlib.import_module("triton")
    tl: Any = importlib.import_module("triton.language")

_NAMES = ("p", "q", "a0", "a1", "a2")
_SPLITS = 64
"""Programs among which the positions of a channel are divided; each writes its own partial sum."""


def runs_on(device_type: str) -> bool:
    """Whether the kernels can be launched there."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return importlib.util.find_spec("triton") is not None and (device_type == "cuda" or interpreted)


def kernels(formula: Formula) -> tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor]]]:
    """The two computations of ``fused``: base(x) + Δ(x), and the gradients of x and of the coefficients.

    Float16, bfloat16 and float32 inputs of shape (N, C, …), contiguous or channels-last; computed in float32.

    Raises:
        RequestError: the formula is not W.
    """
    if not isinstance(formula, Window):
        raise RequestError(
            f"execution=triton: there is a kernel for the window family only, not for {formula}; take fused"
        )
    return functools.partial(_value, formula), functools.partial(_gradients, formula)


class _Layout(NamedTuple):
    """How a dense tensor lies in memory: strides of channels and positions, and the tile that reads it in order."""

    channel: int
    position: int
    tile_channels: int
    tile_positions: int


def _layout(x: Tensor) -> tuple[Tensor, _Layout]:
    channels, positions = x.shape[1], x[0, 0].numel() if len(x) else 1
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return x, _Layout(1, channels, 64, 16)
    x = x.contiguous()
    return x, _Layout(positions, 1, 1, 1024) if positions > 1 else _Layout(1, channels, 64, 16)


def _like(tensor: Tensor | None, x: Tensor) -> Tensor:
    """The tensor in the memory format of ``x``; ``x`` itself where there is none and nothing will be read."""
    if tensor is None:
        return x
    return tensor if tensor.stride() == x.stride() else torch.empty_like(x).copy_(tensor)


def _rows(formula: Window, coefficients: Tensor) -> Tensor:
    """The coefficients as float32 (5, C) in the kernel's order, 0 where the formula has none."""
    # Indexing by a list would copy the list to the device, and wait for everything before it.
    given = dict(zip(formula.names, coefficients.float().unbind(), strict=True))
    missing = coefficients.new_zeros(coefficients.shape[1], dtype=torch.float32)
    return torch.stack([given.get(name, missing) for name in _NAMES])


def _check(x: Tensor) -> None:
    if x.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        raise RequestError(f"execution=triton: computes in float32, but the input is {x.dtype}; take fused")


def _value(formula: Window, x: Tensor, base_value: Tensor | None, coefficients: Tensor, constants: Tensor) -> Tensor:
    _check(x)
    dense, layout = _layout(x)
    result = torch.empty_like(dense)
    if not x.numel():
        return result
    channels = x.shape[1]
    rows, positions = x.numel() // channels, x[0, 0].numel()
    grid = (-(-rows // layout.tile_positions), -(-channels // layout.tile_channels))
    with _device_of(dense):
        _value_kernel[grid](
            dense, _like(base_value, dense), result, _rows(formula, coefficients), constants[0].float().contiguous(),
            rows, channels, positions, layout.channel, layout.position,
            RELU=base_value is None, REACH=REACH, TILE_P=layout.tile_positions, TILE_C=layout.tile_channels,
        )  # fmt: skip
    return result


def _gradients(
    formula: Window, x: Tensor, gradient: Tensor, base_gradient: Tensor | None, coefficients: Tensor, constants: Tensor
) -> tuple[Tensor, Tensor]:
    _check(x)
    dense, layout = _layout(x)
    to_x = torch.empty_like(dense)
    channels = x.shape[1]
    if not x.numel():
        return to_x, coefficients.new_zeros(coefficients.shape, dtype=torch.float32)
    rows, positions = x.numel() // channels, x[0, 0].numel()
    tiles = -(-rows // layout.tile_positions)
    splits = min(_SPLITS, tiles)
    partial = torch.empty((splits, len(_NAMES), channels), dtype=torch.float32, device=x.device)
    with _device_of(dense):
        _gradient_kernel[(splits, -(-channels // layout.tile_channels))](
            dense, _like(gradient, dense), _like(base_gradient, dense), to_x, partial,
            _rows(formula, coefficients), constants[0].float().contiguous(),
            rows, channels, positions, layout.channel, layout.position, -(-tiles // splits),
            RELU=base_gradient is None, REACH=REACH, TILE_P=layout.tile_positions, TILE_C=layout.tile_channels,
        )  # fmt: skip
    sums = dict(zip(_NAMES, partial.sum(0).unbind(), strict=True))
    return to_x, torch.stack([sums[name] for name in formula.names])


def _device_of(tensor: Tensor) -> AbstractContextManager[None]:
    """Launch on the tensor's GPU: triton takes the current one, whose kernels cannot read another one's memory."""
    # The compiler puts a whole network on its device itself, and sees no such context.
    if torch.compiler.is_compiling():
        return contextlib.nullcontext()
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]


def _jit(function: Callable[..., None]) -> Any:
    return triton.jit(function) if importlib.util.find_spec("triton") is not None else function


@_jit
def _value_kernel(  # type: ignore[no-untyped-def]
    x_at, base_at, result_at, coefficients_at, scale_at, rows, channels, positions, channel_stride, position_stride,
    RELU: tl.constexpr, REACH: tl.constexpr, TILE_P: tl.constexpr, TILE_C: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * TILE_P + tl.arange(0, TILE_P)[:, None]
    channel = tl.program_id(1) * TILE_C + tl.arange(0, TILE_C)[None, :]
    inside = (row < rows) & (channel < channels)
    at = (row // positions) * channels * positions + (row % positions) * position_stride + channel * channel_stride
    known = channel < channels
    scale = tl.load(scale_at + channel, mask=known, other=1.0)
    p = tl.load(coefficients_at + channel, mask=known, other=0.0)
    q = tl.load(coefficients_at + channels + channel, mask=known, other=0.0)
    a0 = tl.load(coefficients_at + 2 * channels + channel, mask=known, other=0.0)
    a1 = tl.load(coefficients_at + 3 * channels + channel, mask=known, other=0.0)
    a2 = tl.load(coefficients_at + 4 * channels + channel, mask=known, other=0.0)

    x = tl.load(x_at + at, mask=inside, other=0.0).to(tl.float32)
    # Comparisons and not min and max, which would turn a NaN into a number; bounds as in positive_part.
    raw = x / scale
    z = tl.where(raw > REACH, REACH, tl.where(raw < -REACH, -REACH, raw))
    size = tl.where(z < 0, -z, z)
    finite = tl.where(x > 3.4028234663852886e38, 3.4028234663852886e38, x)
    finite = tl.where(finite < -3.4028234663852886e38, -3.4028234663852886e38, finite)
    delta = scale * tl.exp(-0.5 * z * z) * (a0 + a1 * z + a2 * size)
    delta += q * tl.where(x > 0, 0.0, finite) + p * tl.where(x < 0, 0.0, finite)
    if RELU:  # noqa: SIM108  (a branch that is not taken is then not compiled)
        base = tl.where(x <= 0, 0.0, x)
    else:
        base = tl.load(base_at + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(result_at + at, (base + delta).to(result_at.dtype.element_ty), mask=inside)


@_jit
def _gradient_kernel(  # type: ignore[no-untyped-def]
    x_at, gradient_at, base_at, to_x_at, partial_at, coefficients_at, scale_at,
    rows, channels, positions, channel_stride, position_stride, tiles,
    RELU: tl.constexpr, REACH: tl.constexpr, TILE_P: tl.constexpr, TILE_C: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(1) * TILE_C + tl.arange(0, TILE_C)[None, :]
    known = channel < channels
    scale = tl.load(scale_at + channel, mask=known, other=1.0)
    p = tl.load(coefficients_at + channel, mask=known, other=0.0)
    q = tl.load(coefficients_at + channels + channel, mask=known, other=0.0)
    a0 = tl.load(coefficients_at + 2 * channels + channel, mask=known, other=0.0)
    a1 = tl.load(coefficients_at + 3 * channels + channel, mask=known, other=0.0)
    a2 = tl.load(coefficients_at + 4 * channels + channel, mask=known, other=0.0)
    sum_p = tl.zeros((TILE_P, TILE_C), tl.float32)
    sum_q = tl.zeros((TILE_P, TILE_C), tl.float32)
    sum_0 = tl.zeros((TILE_P, TILE_C), tl.float32)
    sum_1 = tl.zeros((TILE_P, TILE_C), tl.float32)
    sum_2 = tl.zeros((TILE_P, TILE_C), tl.float32)

    for tile in range(tiles):
        row = (tl.program_id(0).to(tl.int64) * tiles + tile) * TILE_P + tl.arange(0, TILE_P)[:, None]
        inside = (row < rows) & known
        at = (row // positions) * channels * positions + (row % positions) * position_stride + channel * channel_stride
        x = tl.load(x_at + at, mask=inside, other=0.0).to(tl.float32)
        gradient = tl.load(gradient_at + at, mask=inside, other=0.0).to(tl.float32)
        raw = x / scale
        z = tl.where(raw > REACH, REACH, tl.where(raw < -REACH, -REACH, raw))
        size = tl.where(z < 0, -z, z)
        sign = tl.where(z > 0, 1.0, tl.where(z < 0, -1.0, 0.0))
        finite = tl.where(x > 3.4028234663852886e38, 3.4028234663852886e38, x)
        finite = tl.where(finite < -3.4028234663852886e38, -3.4028234663852886e38, finite)
        window = tl.exp(-0.5 * z * z)
        slope = tl.where(raw == z, window * (a1 + a2 * sign - z * (a0 + a1 * z + a2 * size)), 0.0)
        slope += tl.where(x <= 0, q, 0.0) + tl.where(x >= 0, p, 0.0)
        if RELU:  # noqa: SIM108
            base = tl.where(x <= 0, 0.0, gradient)
        else:
            base = tl.load(base_at + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(to_x_at + at, (base + gradient * slope).to(to_x_at.dtype.element_ty), mask=inside)
        height = gradient * scale * window
        sum_p += gradient * tl.where(x < 0, 0.0, finite)
        sum_q += gradient * tl.where(x > 0, 0.0, finite)
        sum_0 += height
        sum_1 += height * z
        sum_2 += height * size

    at = partial_at + tl.program_id(0) * 5 * channels + channel
    tl.store(at, tl.sum(sum_p, 0)[None, :], mask=known)
    tl.store(at + channels, tl.sum(sum_q, 0)[None, :], mask=known)
    tl.store(at + 2 * channels, tl.sum(sum_0, 0)[None, :], mask=known)
    tl.store(at + 3 * channels, tl.sum(sum_1, 0)[None, :], mask=known)
    tl.store(at + 4 * channels, tl.sum(sum_2, 0)[None, :], mask=known)
