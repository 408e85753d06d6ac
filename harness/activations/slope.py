"""Slope: a trained slope on the negative side, PReLU's, on any base."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from harness.activations.base import negative_part, where_negative
from harness.activations.formulas import Rows, Total


@dataclass(frozen=True)
class NegativeSlope:
    """Δ(x) = q min(x, 0): on ReLU it is PReLU (He et al. 2015, arXiv 1502.01852) from slope 0."""

    names: tuple[str, ...] = ("q",)
    constants: tuple[str, ...] = ("scale",)

    def delta(self, x: Tensor, coefficients: Rows, constants: Rows) -> Tensor:
        """Δ(x)."""
        return coefficients[0] * negative_part(x)

    def derivatives(
        self, x: Tensor, gradient: Tensor, coefficients: Rows, constants: Rows, total: Total, with_slope: bool = True
    ) -> tuple[Tensor | None, Rows]:
        """dΔ/dx = q 1[x <= 0], dΔ/dq = min(x, 0)."""
        return where_negative(coefficients[0], x), (total(negative_part(x).mul_(gradient)),)

    def mean_square(self, coefficients: Rows, constants: Rows) -> Tensor:
        """E[(Δ / s)²] = q² / 2."""
        return coefficients[0].square() / 2


SLOPE = NegativeSlope()
