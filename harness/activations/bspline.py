"""B-splines: a residual of free form within a few scales of 0, as Kolmogorov-Arnold networks have it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.activations.formulas import Rows, Total

REACH = 4.0
"""Beyond so many scales from 0 every spline is 0."""


@dataclass(frozen=True)
class BSpline:
    """Δ(x) = s Σ_i c_i B((z - t_i) / h), z = x / s, with the uniform cubic B-spline B.

    Liu et al. 2024, "KAN: Kolmogorov-Arnold networks", arXiv 2404.19756: an activation is a fixed function (there
    SiLU, here the network's own) and a sum of G + 3 splines on a grid of G intervals, which is extended by three more
    on either side; here so that all of them reach from -4 to 4 scales. Its eight splines are those of G = 5, four those
    of G = 1. The fixed function has no weight of its own, and the grid stays where it is. B is cubic between integers,
    with B(0) = 2/3, B(±1) = 1/6 and 0 from ±2 on; h = 8 / (count + 3) and t_i are the centres, equally spaced around 0.
    Linear in its coefficients; |Δ| <= s max |c|.
    """

    count: int
    constants: tuple[str, ...] = ("scale",)

    @property
    def names(self) -> tuple[str, ...]:
        """One coefficient a spline, from the left."""
        return tuple(f"c{number}" for number in range(1, self.count + 1))

    @property
    def width(self) -> float:
        """h, in scales."""
        return 2 * REACH / (self.count + 3)

    @property
    def centres(self) -> tuple[float, ...]:
        """t_i, in scales."""
        return tuple(self.width * (number - (self.count - 1) / 2) for number in range(self.count))

    def delta(self, x: Tensor, coefficients: Rows, constants: Rows) -> Tensor:
        """Δ(x)."""
        z = x / (constants[0] * self.width)
        result = torch.zeros_like(z)
        for coefficient, centre in zip(coefficients, self.centres, strict=True):
            outer, inner = _sides((z - centre / self.width).abs())
            spline = (outer * outer.square()).sub_(inner * inner.square(), alpha=4)
            result.addcmul_(coefficient / 6, spline)
        return result.mul_(constants[0])

    def derivatives(
        self, x: Tensor, gradient: Tensor, coefficients: Rows, constants: Rows, total: Total, with_slope: bool = True
    ) -> tuple[Tensor | None, Rows]:
        """dΔ/dx = Σ_i c_i B'((z - t_i) / h) / h, dΔ/dc_i = s B((z - t_i) / h)."""
        z, upstream = x / (constants[0] * self.width), gradient * (constants[0] / 6)
        slope = torch.zeros_like(z) if with_slope else None
        sums = []
        for coefficient, centre in zip(coefficients, self.centres, strict=True):
            away = z - centre / self.width
            outer, inner = _sides(away.abs())
            outer_square, inner_square = outer.square(), inner.square()
            spline = outer.mul_(outer_square).sub_(inner.mul_(inner_square), alpha=4)
            sums.append(total(spline.mul_(upstream)))
            if slope is not None:
                fall = inner_square.mul_(4).sub_(outer_square).mul_(away.sign_())
                slope.addcmul_(coefficient / (2 * self.width), fall)
        return slope, tuple(sums)

    def mean_square(self, coefficients: Rows, constants: Rows) -> Tensor:
        """E[(Δ / s)²] = Σ_ij c_i c_j E[B_i(z) B_j(z)], z ~ N(0, 1)."""
        given = torch.stack(coefficients)
        products = torch.as_tensor(_products(self), dtype=given.dtype, device=given.device)
        return torch.einsum("ic,ij,jc->c", given, products, given)


def _sides(steps: Tensor) -> tuple[Tensor, Tensor]:
    """max(0, 2 - u) and max(0, 1 - u) at a distance u from a centre: B is (the first³ - 4 the second³) / 6."""
    return (2 - steps).clamp_(min=0), (1 - steps).clamp_(min=0)


@functools.cache
def _products(formula: BSpline) -> NDArray[np.float64]:
    """E[B_i(z) B_j(z)] for z ~ N(0, 1): between two knots by Gauss and Legendre's rule of 24 points."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    knots = np.linspace(-REACH, REACH, formula.count + 4)
    half = formula.width / 2
    z = (knots[:-1, None] + half * (nodes + 1)).ravel()
    weight = np.tile(half * weights, len(knots) - 1) * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    steps = np.abs(z - np.array(formula.centres)[:, None]) / formula.width
    values = (np.clip(2 - steps, 0, None) ** 3 - 4 * np.clip(1 - steps, 0, None) ** 3) / 6
    products: NDArray[np.float64] = (values * weight) @ values.T
    return products


B4 = BSpline(4)
B8 = BSpline(8)
