"""Rational: a ratio of two polynomials as a residual, the form of Padé activation units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.activations.formulas import Rows, Total

REACH = 8.0
"""|x / scale| from which on Δ stays as it is: powers of larger numbers would not be finite."""

_PANELS = 512
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)


@dataclass(frozen=True)
class Rational:
    """Δ(x) = s P(z) / (1 + |Q(z)|), z = clip(x / s, -8, 8), P = Σ_j a_j z^j, Q = Σ_k (start_k + b_k) z^k.

    Molina et al. 2019, "Padé activation units", arXiv 1907.06732, the form without poles: j from 0, k from 1. There the
    ratio is the activation, here it is added to one. ``start`` is a denominator to begin with: from 0 none would move,
    as |Q| has no slope there. The derivatives for b are 0 while P is.

    Attributes:
        degree: of P.
        start: of Q, its coefficients of z, z² and so on.
    """

    degree: int
    start: tuple[float, ...]
    constants: tuple[str, ...] = ("scale",)

    @property
    def names(self) -> tuple[str, ...]:
        """Coefficients of P from the constant on, then those of Q."""
        above = (f"a{power}" for power in range(self.degree + 1))
        return (*above, *(f"b{power}" for power in range(1, len(self.start) + 1)))

    def delta(self, x: Tensor, coefficients: Rows, constants: Rows) -> Tensor:
        """Δ(x)."""
        z = (x / constants[0]).clamp(-REACH, REACH)
        above, below = self._split(coefficients)
        return constants[0] * _polynomial(above, z) / (1 + _polynomial(below, z).abs())

    def derivatives(
        self, x: Tensor, gradient: Tensor, coefficients: Rows, constants: Rows, total: Total, with_slope: bool = True
    ) -> tuple[Tensor | None, Rows]:
        """With D = 1 + |Q|: dΔ/dx = (P' - P sgn Q Q' / D) / D within the reach, dΔ/da_j = s z^j / D,
        dΔ/db_k = -s P sgn Q z^k / D²."""
        z = (x / constants[0]).clamp(-REACH, REACH)
        above, below = self._split(coefficients)
        ratio, under = _polynomial(above, z), _polynomial(below, z)
        side = under.sign()
        share = under.abs_().add_(1).reciprocal_()
        # P sgn Q / D, which both the slope and the derivatives for b are made of.
        ratio = ratio.mul_(side).mul_(share)
        slope = None
        if with_slope:
            rise = _polynomial(_derived(above), z) - ratio * _polynomial(_derived(below), z)
            slope = rise.mul_(share).mul_(z.abs() < REACH)
        by_above = share.mul_(gradient).mul_(constants[0])
        by_below = ratio.mul_(by_above).neg_()
        sums = [total(by_above)]
        sums += [total(by_above.mul_(z)) for _ in above[1:]]
        sums += [total(by_below.mul_(z)) for _ in self.start]
        return slope, tuple(sums)

    def mean_square(self, coefficients: Rows, constants: Rows) -> Tensor:
        """E[(Δ / s)²], z ~ N(0, 1), over [-10, 10] by Gauss and Legendre's rule of 4 points in each of 512 parts.

        It has no closed form, and a kink where Q is 0: right to about four digits.
        """
        half = 10 / _PANELS
        starts = np.linspace(-10, 10, _PANELS, endpoint=False)
        points = (starts[:, None] + half * (_NODES + 1)).ravel()
        weights = np.tile(half * _WEIGHTS, _PANELS) * np.exp(-0.5 * points * points) / math.sqrt(2 * math.pi)
        some = coefficients[0]
        z = torch.as_tensor(points, dtype=some.dtype, device=some.device)[:, None].expand(-1, len(some))
        weight = torch.as_tensor(weights, dtype=some.dtype, device=some.device)[:, None]
        return (weight * self.delta(z, coefficients, (torch.ones_like(some),)).square()).sum(0)

    def _split(self, coefficients: Rows) -> tuple[Rows, Rows]:
        """The coefficients of P and of Q, each from the constant on."""
        above, moved = coefficients[: self.degree + 1], coefficients[self.degree + 1 :]
        below = (value + start for value, start in zip(moved, self.start, strict=True))
        return above, (torch.zeros_like(above[0]), *below)


def _polynomial(coefficients: Rows, z: Tensor) -> Tensor:
    """Its values, of a shape that broadcasts with z where it is a constant."""
    result = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        result = torch.addcmul(coefficient, result, z)
    return result


def _derived(coefficients: Rows) -> Rows:
    """The coefficients of a polynomial's derivative."""
    return tuple(power * coefficient for power, coefficient in enumerate(coefficients) if power)


RELU_DENOMINATOR = (0.0, 3.97645, 0.0, 0.30125)
"""Of the ratio of degrees 5 and 4 that is the closest to ReLU within three scales of 0."""

R21 = Rational(2, (1.0,))
"""Four coefficients, as many as W4 has."""
R54 = Rational(5, RELU_DENOMINATOR)
"""The degrees of the source."""
