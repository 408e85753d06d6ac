"""H: a piecewise linear residual with knots at the mean of a channel and one standard deviation on either side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.activations.base import negative_part, positive_part, where_negative
from harness.activations.formulas import Rows, Total

KNOTS = (-1.0, 0.0, 1.0)
"""Where the slope may change, in standard deviations from the mean."""


@dataclass(frozen=True)
class Hinge:
    """Δ(x) = q min(x, 0) + sum over m of v_m max(0, x - centre - scale · t_m), t = (-1, 0, 1).

    The form of adaptive piecewise linear units (Agostinelli et al. 2014, arXiv 1412.6830) with frozen knots. Linear
    in its coefficients; the slope at +inf changes by the sum of v.
    """

    names: tuple[str, ...] = ("q", "v1", "v2", "v3")
    constants: tuple[str, ...] = ("scale", "centre")

    def delta(self, x: Tensor, coefficients: Rows, constants: Rows) -> Tensor:
        """Δ(x)."""
        q, *slopes = coefficients
        scale, centre = constants
        result = q * negative_part(x)
        for slope, knot in zip(slopes, KNOTS, strict=True):
            result = result + slope * positive_part(x - (centre + scale * knot))
        return result

    def derivatives(
        self, x: Tensor, gradient: Tensor, coefficients: Rows, constants: Rows, total: Total, with_slope: bool = True
    ) -> tuple[Tensor | None, Rows]:
        """dΔ/dx = q 1[x <= 0] + the v_m of the knots below x; dΔ/dφ are the functions beside the coefficients."""
        q, *slopes = coefficients
        scale, centre = constants
        sums = [total(negative_part(x).mul_(gradient))]
        slope = where_negative(q, x)
        for rise, knot in zip(slopes, KNOTS, strict=True):
            distance = x - (centre + scale * knot)
            slope += where_negative(rise, -distance)
            sums.append(total(positive_part(distance).mul_(gradient)))
        return slope, tuple(sums)

    def mean_square(self, coefficients: Rows, constants: Rows) -> Tensor:
        """E[(Δ / scale)²] in closed form.

        In units of the scale, with d = centre / scale, min(x, 0) is (z + d) - max(0, z + d), so that all products
        are of the linear function z + d and of hinges max(0, z - a). Partial integration of the normal density φ,
        whose upper tail is Q, gives for a >= b

            E[max(0, z - a) max(0, z - b)] = (1 + a b) Q(a) - b φ(a)
            E[(z + d) max(0, z - a)] = d φ(a) + (1 - a d) Q(a),   E[(z + d)²] = 1 + d².
        """
        q, *slopes = coefficients
        scale, centre = constants
        shift = centre / scale
        hinges = [
            (-q, -shift),
            *((slope, torch.full_like(shift, knot)) for slope, knot in zip(slopes, KNOTS, strict=True)),
        ]
        total = q * q * (1 + shift * shift)
        for weight, knot in hinges:
            total = total + 2 * q * weight * (shift * _density(knot) + (1 - knot * shift) * _tail(knot))
            for other, second in hinges:
                upper, lower = torch.maximum(knot, second), torch.minimum(knot, second)
                total = total + weight * other * ((1 + upper * lower) * _tail(upper) - lower * _density(upper))
        return total


H = Hinge()


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _tail(z: Tensor) -> Tensor:
    return 0.5 * torch.erfc(z / math.sqrt(2))
