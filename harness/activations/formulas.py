"""f(x) = base(x) + Δ(x): what a family of functions Δ must tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

Execution: TypeAlias = Literal["auto", "plain", "fused", "compiled", "triton"]
Rows: TypeAlias = tuple[Tensor, ...]
Total: TypeAlias = Callable[[Tensor], Tensor]
"""Sums something of the shape of x over all that a coefficient is meant for."""


class Formula(Protocol):
    """A family of functions Δ, one a channel, with its derivatives.

    ``x`` is float32 or float64, shape (N, C, …). ``coefficients`` and ``constants`` hold one tensor a name, of
    the same dtype and of a shape that broadcasts with ``x``. Δ is zero where all coefficients are.
    """

    def __hash__(self) -> int:
        """Equal formulas are computed by the same kernels."""

    @property
    def names(self) -> tuple[str, ...]:
        """The trained coefficients of a channel, in the order in which they are stored."""

    @property
    def constants(self) -> tuple[str, ...]:
        """Which frozen numbers of a channel it needs: ``scale``, or ``scale`` and ``centre``."""

    def delta(self, x: Tensor, coefficients: Rows, constants: Rows) -> Tensor:
        """Δ(x), of the shape of ``x``."""

    def derivatives(
        self, x: Tensor, gradient: Tensor, coefficients: Rows, constants: Rows, total: Total, with_slope: bool = True
    ) -> tuple[Tensor | None, Rows]:
        """dΔ/dx, of the shape of ``x``, and ``total(gradient dΔ/dφ)`` for each coefficient φ.

        Args:
            total: has used its argument up when it returns.
            with_slope: whether dΔ/dx is wanted; else None may stand for it.
        """

    def mean_square(self, coefficients: Rows, constants: Rows) -> Tensor:
        """E[(Δ(x) / scale)²] for x = centre + scale · z with z ~ N(0, 1); the centre is 0 where it is not a constant.

        All tensors have shape (C,).
        """


def broadcast(per_channel: Tensor, x: Tensor) -> Tensor:
    """A tensor (…, C) in ``x``'s dtype as (…, C, 1, …), which broadcasts with ``x`` of shape (N, C, …)."""
    return per_channel.to(x.dtype).reshape(*per_channel.shape, *(1,) * (x.dim() - 2))


def widen(x: Tensor) -> Tensor:
    """Half precision as float32, other tensors as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
