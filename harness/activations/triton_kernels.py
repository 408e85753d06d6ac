"""base(x) + Δ(x) in one pass over x forward and one backward, for every variant of ``triton_formulas``.

The module imports triton. Triton's interpreter checks the results on a CPU, and its compiler accepts every kernel for a
GPU; no kernel has run on one since they have this form.
"""

from __future__ import annotations

import contextlib
import importlib
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.activations.bases import Base
from harness.activations.triton_formulas import Variant, jit
from harness.core.errors import RequestError

triton: Any = importlib.import_module("triton")
tl: Any = importlib.import_module("triton.language")

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
"""Of inputs; computed in float32."""
_PROGRAMS = 2048
"""Programs of a backward pass, at least, where a tensor has as many tiles: some 15 for each multiprocessor."""
_NARROW = 1 << 30
"""Elements of a tensor, at most, whose places are counted in 32 bits: a division takes several times as long in 64."""


def evaluate(
    variant: Variant,
    base: Base | None,
    x: Tensor,
    coefficients: Tensor,
    constants: Tensor | None = None,
    kappa: Tensor | None = None,
) -> Tensor:
    """base(x) + f(x) + kappa L x, differentiable once with respect to x, the coefficients and kappa.

    Args:
        variant: f.
        base: what f is added to; None is 0.
        x: one of ``DTYPES``, shape (N, C, …).
        coefficients: shape (variant.coefficients, C).
        constants: shape (variant.constants, C), without gradient; None where there are none.
        kappa: shape (C,), for x of shape (N, C, H, W); L is the five-point Laplacian of ``laplacian``.

    Raises:
        RequestError: x is of another dtype.
    """
    if x.dtype not in DTYPES:
        raise RequestError(f"execution=triton: computes in float32, but the input is {x.dtype}; take fused")
    rows = coefficients if kappa is None else torch.cat((coefficients, kappa[None]))
    result: Tensor = _Kernel.apply(x, rows, constants, variant, base, kappa is not None)
    return result


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        coefficients: Tensor,
        constants: Tensor | None,
        variant: Variant,
        base: Base | None,
        laplacian: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, coefficients, constants)
        ctx.variant, ctx.base, ctx.laplacian = variant, base, laplacian
        x = x.detach()
        base_value = base(x) if base is not None and not base.is_relu else None
        tiling, dense = _Tiling.of(x), _dense(x)
        result = torch.empty_like(dense)
        if not x.numel():
            return result
        grid = (-(-tiling.rows // tiling.tile_rows), -(-tiling.channels // tiling.tile_channels))
        with _device_of(dense):
            _value_kernel[grid](
                dense, _like(base_value, dense), result, *_numbers(coefficients, constants),
                tiling.rows, tiling.channels, tiling.places, tiling.width,
                VALUE=variant.value, COEFFICIENTS=variant.coefficients, CONSTANTS=variant.constants,
                BASE=base_value is not None, RELU=base is not None and base.is_relu, LAPLACIAN=laplacian,
                **tiling.constants(),
            )  # fmt: skip
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, coefficients = (given.detach() for given in ctx.saved_tensors[:2])
        constants = ctx.saved_tensors[2]
        variant, base, with_x = ctx.variant, ctx.base, ctx.needs_input_grad[0]
        tiling, dense = _Tiling.of(x), _dense(x)
        to_x = torch.empty_like(dense) if with_x else None
        if not x.numel():
            return to_x, torch.zeros_like(coefficients), None, None, None, None
        # The base has no part in the sums: where the input needs no gradient, nobody asks for its.
        given = with_x and base is not None and not base.is_relu
        base_gradient = base.gradient(gradient.detach(), x) if given else None
        splits, each = tiling.splits()
        partial = torch.empty((splits, *coefficients.shape), dtype=torch.float32, device=x.device)
        with _device_of(dense):
            _gradient_kernel[(splits, -(-tiling.channels // tiling.tile_channels))](
                dense, _like(gradient.detach(), dense), _like(base_gradient, dense), dense if to_x is None else to_x,
                partial, *_numbers(coefficients, constants),
                tiling.rows, tiling.channels, tiling.places, tiling.width, each,
                GRADIENT=variant.gradient, COEFFICIENTS=variant.coefficients, CONSTANTS=variant.constants,
                BASE=base_gradient is not None, RELU=base is not None and base.is_relu, LAPLACIAN=ctx.laplacian,
                WITH_X=with_x, **tiling.constants(),
            )  # fmt: skip
        return to_x, partial.sum(0).to(coefficients.dtype), None, None, None, None


class _Tiling(NamedTuple):
    """How a dense tensor is cut into tiles that lie in memory in one piece or in few, by its shape and layout alone."""

    rows: int
    """Images times places."""
    channels: int
    places: int
    width: int
    """Places of a line of an image."""
    last: bool
    """Whether channels are next to one another in memory, rather than the places of a channel."""
    tile_rows: int
    tile_channels: int

    @classmethod
    def of(cls, x: Tensor) -> _Tiling:
        channels, places = x.shape[1], x.shape[2:].numel()
        last = places == 1 or _is_channels_last(x)
        tile = (16, 64) if last else (1024, 1)
        return cls(len(x) * places, channels, places, x.shape[-1] if x.dim() > 2 else 1, last, *tile)

    def splits(self) -> tuple[int, int]:
        """Programs among which the rows of a channel are divided, and the tiles of each.

        Each program writes sums of its own, which are then added: the order is always that of the shape.
        """
        tiles = -(-self.rows // self.tile_rows)
        wanted = -(-_PROGRAMS // -(-self.channels // self.tile_channels))
        each = max(1, tiles // wanted)
        return -(-tiles // each), each

    def constants(self) -> dict[str, int]:
        """What is compiled into a kernel."""
        wide = self.rows * self.channels > _NARROW
        return {"LAST": self.last, "WIDE": wide, "TILE_P": self.tile_rows, "TILE_C": self.tile_channels}


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _dense(x: Tensor) -> Tensor:
    return x if _is_channels_last(x) else x.contiguous()


def _like(tensor: Tensor | None, dense: Tensor) -> Tensor:
    """The tensor in the memory format of ``dense``; this itself where there is none and nothing will be read."""
    if tensor is None:
        return dense
    return tensor if tensor.stride() == dense.stride() else torch.empty_like(dense).copy_(tensor)


def _numbers(coefficients: Tensor, constants: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both as the kernels read them, usually what they are; where nothing will be read, any."""
    rows = coefficients.float().contiguous()
    return rows, rows if constants is None else constants.float().contiguous()


def _device_of(tensor: Tensor) -> AbstractContextManager[None]:
    """Launch on the tensor's GPU: triton takes the current one, whose kernels cannot read another one's memory."""
    # The compiler puts a whole network on its device itself, and sees no such context.
    if torch.compiler.is_compiling():
        return contextlib.nullcontext()
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]


@jit
def _load_numbers(at, channel, channels, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]
    """The numbers of some channels, 1 where there is no such channel."""
    numbers = ()
    for index in tl.static_range(COUNT):
        number = tl.load(at + index * channels + channel, mask=channel < channels, other=1.0)
        numbers = numbers + (number,)  # type: ignore[assignment]  # noqa: RUF005  (triton knows no other way)
    return numbers


@jit
def _address(row, channel, channels, places, LAST: tl.constexpr):  # type: ignore[no-untyped-def]
    if LAST:  # noqa: SIM108  (a branch that is not taken is then not compiled)
        at = row * channels + channel
    else:
        at = (row // places * channels + channel) * places + row % places
    return at


@jit
def _laplacian(  # type: ignore[no-untyped-def]
    tensor_at, own, at, inside, row, channels, places, width, LAST: tl.constexpr
):
    """Beyond the border is the last pixel. Seen as a matrix it is symmetric, hence its own backward pass."""
    step = channels if LAST else 1
    place = row % places
    column = place % width
    up = tl.load(tensor_at + tl.where(place >= width, at - width * step, at), mask=inside, other=0.0)
    down = tl.load(tensor_at + tl.where(place < places - width, at + width * step, at), mask=inside, other=0.0)
    left = tl.load(tensor_at + tl.where(column > 0, at - step, at), mask=inside, other=0.0)
    right = tl.load(tensor_at + tl.where(column < width - 1, at + step, at), mask=inside, other=0.0)
    neighbours = up.to(tl.float32) + down.to(tl.float32) + left.to(tl.float32) + right.to(tl.float32)
    return neighbours - 4 * own


@jit
def _value_kernel(  # type: ignore[no-untyped-def]
    x_at, base_at, result_at, coefficients_at, constants_at, rows, channels, places, width,
    VALUE: tl.constexpr, COEFFICIENTS: tl.constexpr, CONSTANTS: tl.constexpr,
    BASE: tl.constexpr, RELU: tl.constexpr, LAPLACIAN: tl.constexpr,
    LAST: tl.constexpr, WIDE: tl.constexpr, TILE_P: tl.constexpr, TILE_C: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(1) * TILE_C + tl.arange(0, TILE_C)[None, :]
    coefficients = _load_numbers(coefficients_at, channel, channels, COEFFICIENTS)
    constants = _load_numbers(constants_at, channel, channels, CONSTANTS)
    block = tl.program_id(0).to(tl.int64) if WIDE else tl.program_id(0)
    row = block * TILE_P + tl.arange(0, TILE_P)[:, None]
    inside = (row < rows) & (channel < channels)
    at = _address(row, channel, channels, places, LAST)
    x = tl.load(x_at + at, mask=inside, other=0.0).to(tl.float32)
    value = VALUE(x, coefficients, constants)
    if RELU:
        value = tl.where(x <= 0, 0.0, x) + value
    if BASE:
        value = tl.load(base_at + at, mask=inside, other=0.0).to(tl.float32) + value
    if LAPLACIAN:
        kappa = tl.load(coefficients_at + COEFFICIENTS * channels + channel, mask=channel < channels, other=0.0)
        value += kappa * _laplacian(x_at, x, at, inside, row, channels, places, width, LAST)
    tl.store(result_at + at, value.to(result_at.dtype.element_ty), mask=inside)


@jit
def _gradient_kernel(  # type: ignore[no-untyped-def]
    x_at, gradient_at, base_at, to_x_at, partial_at, coefficients_at, constants_at,
    rows, channels, places, width, tiles,
    GRADIENT: tl.constexpr, COEFFICIENTS: tl.constexpr, CONSTANTS: tl.constexpr,
    BASE: tl.constexpr, RELU: tl.constexpr, LAPLACIAN: tl.constexpr, WITH_X: tl.constexpr,
    LAST: tl.constexpr, WIDE: tl.constexpr, TILE_P: tl.constexpr, TILE_C: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(1) * TILE_C + tl.arange(0, TILE_C)[None, :]
    coefficients = _load_numbers(coefficients_at, channel, channels, COEFFICIENTS)
    constants = _load_numbers(constants_at, channel, channels, CONSTANTS)
    if LAPLACIAN:
        kappa = tl.load(coefficients_at + COEFFICIENTS * channels + channel, mask=channel < channels, other=0.0)
    sums = ()
    for _ in tl.static_range(COEFFICIENTS + LAPLACIAN):
        sums = sums + (tl.zeros((TILE_P, TILE_C), tl.float32),)  # type: ignore[assignment]  # noqa: RUF005
    block = tl.program_id(0).to(tl.int64) if WIDE else tl.program_id(0)

    for tile in range(tiles):
        row = (block * tiles + tile) * TILE_P + tl.arange(0, TILE_P)[:, None]
        inside = (row < rows) & (channel < channels)
        at = _address(row, channel, channels, places, LAST)
        x = tl.load(x_at + at, mask=inside, other=0.0).to(tl.float32)
        gradient = tl.load(gradient_at + at, mask=inside, other=0.0).to(tl.float32)
        slope, partials = GRADIENT(x, coefficients, constants)
        if LAPLACIAN:
            change = _laplacian(x_at, x, at, inside, row, channels, places, width, LAST)
            partials = partials + (change,)  # noqa: RUF005
        if WITH_X:
            to_x = gradient * slope
            if RELU:
                to_x = tl.where(x <= 0, 0.0, gradient) + to_x
            if BASE:
                to_x = tl.load(base_at + at, mask=inside, other=0.0).to(tl.float32) + to_x
            if LAPLACIAN:
                to_x += kappa * _laplacian(gradient_at, gradient, at, inside, row, channels, places, width, LAST)
            tl.store(to_x_at + at, to_x.to(to_x_at.dtype.element_ty), mask=inside)
        more = ()
        for index in tl.static_range(COEFFICIENTS + LAPLACIAN):
            more = more + (sums[index] + gradient * partials[index],)  # type: ignore[assignment]  # noqa: RUF005
        sums = more

    at = partial_at + tl.program_id(0) * (COEFFICIENTS + LAPLACIAN) * channels + channel
    for index in tl.static_range(COEFFICIENTS + LAPLACIAN):
        tl.store(at + index * channels, tl.sum(sums[index], 0)[None, :], mask=channel < channels)
