"""W: a residual under a Gaussian window, for a channel's own scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.activations.base import negative_part, positive_part, where_negative
from harness.activations.formulas import Rows, Total

REACH = 8.0
"""|x / scale| at which the window ends; its height there is 1e-14. Clipping before squaring keeps all finite."""

_EDGE = 1 / (2 * math.sqrt(2 * math.pi))
_SLOPE = 1 / (4 * math.sqrt(2))
_MOMENTS: Mapping[tuple[str, str], float] = {
    ("p", "p"): 1 / 2,
    ("q", "q"): 1 / 2,
    ("p", "a0"): _EDGE,
    ("q", "a0"): -_EDGE,
    ("p", "a1"): _SLOPE,
    ("q", "a1"): _SLOPE,
    ("p", "a2"): _SLOPE,
    ("q", "a2"): -_SLOPE,
    ("a0", "a0"): 1 / math.sqrt(3),
    ("a0", "a2"): math.sqrt(2 / math.pi) / 3,
    ("a1", "a1"): 1 / (3 * math.sqrt(3)),
    ("a2", "a2"): 1 / (3 * math.sqrt(3)),
}
"""E[b_i(z) b_j(z)], z ~ N(0, 1), of the functions below at scale 1; pairs that are not here have 0.

With w = exp(-z²/2): E[w h(z)] = E[h(u)] / √2 for u ~ N(0, 1/2), and E[w² h(z)] = E[h(v)] / √3 for v ~ N(0, 1/3);
what is left are half-line moments of a normal variable.
"""


@dataclass(frozen=True)
class Window:
    """Δ(x) = p max(x, 0) + q min(x, 0) + s w (a0 + a1 z + a2 |z|), z = x / s, w = exp(-z² / 2).

    ``names`` says which of p, q and a1 there are beside a0 and a2; the others are 0. Δ is linear in them, and their
    derivatives do not vanish at 0. Only p and q are felt far from 0:
    |Δ - p max(x, 0) - q min(x, 0)| <= s (|a0| + (|a1| + |a2|) / √e).
    """

    names: tuple[str, ...] = ("q", "a0", "a1", "a2")
    constants: tuple[str, ...] = ("scale",)

    def delta(self, x: Tensor, coefficients: Rows, constants: Rows) -> Tensor:
        """Δ(x)."""
        given = dict(zip(self.names, coefficients, strict=True))
        (scale,) = constants
        z = (x / scale).clamp(-REACH, REACH)
        result = scale * _window(z, scale) * _inner(given, z, z.abs())
        if "q" in given:
            result.addcmul_(given["q"], negative_part(x))
        if "p" in given:
            result.addcmul_(given["p"], positive_part(x))
        return result

    def derivatives(
        self, x: Tensor, gradient: Tensor, coefficients: Rows, constants: Rows, total: Total, with_slope: bool = True
    ) -> tuple[Tensor | None, Rows]:
        """dΔ/dx = p 1[x >= 0] + q 1[x <= 0] + w (a1 + a2 sgn z - z (a0 + a1 z + a2 |z|)).

        dΔ/dφ is the function that the coefficient φ stands before. Beyond the reach, where z no longer follows x, w is
        1e-14 and not worth a mask.
        """
        given = dict(zip(self.names, coefficients, strict=True))
        (scale,) = constants
        # In place where it can be: what was just used is in the cache, and nothing is differentiated further.
        z = (x / scale).clamp_(-REACH, REACH)
        window, side = _window(z, scale), z.sign()
        slope = self._slope(x, z, window, side, given) if with_slope else None
        sums = {}
        if "q" in given:
            sums["q"] = total(negative_part(x).mul_(gradient))
        if "p" in given:
            sums["p"] = total(positive_part(x).mul_(gradient))
        product = window.mul_(gradient).mul_(scale)
        sums["a0"] = total(product)
        sums["a1"] = total(product.mul_(z))
        sums["a2"] = total(product.mul_(side))
        return slope, tuple(sums[name] for name in self.names)

    def _slope(self, x: Tensor, z: Tensor, window: Tensor, side: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        rise = torch.addcmul(given["a1"], given["a2"], side) if "a1" in given else given["a2"] * side
        inner = torch.addcmul(given["a0"], rise, z)
        bend = rise.addcmul_(inner, z, value=-1)
        slope = where_negative(given["q"], x).addcmul_(bend, window) if "q" in given else bend.mul_(window)
        return slope.add_(where_negative(given["p"], -x)) if "p" in given else slope

    def mean_square(self, coefficients: Rows, constants: Rows) -> Tensor:
        """E[(Δ / s)²] from the Gaussian moments above; the clipping of z is beneath float64's resolution."""
        given = dict(zip(self.names, coefficients, strict=True))
        total = torch.zeros_like(coefficients[0])
        for (first, second), moment in _MOMENTS.items():
            if first in given and second in given:
                total = total + (1 if first == second else 2) * moment * given[first] * given[second]
        return total


def _window(z: Tensor, row: Tensor) -> Tensor:
    """exp(-z² / 2); ``row`` is any tensor that broadcasts with z in the way of a coefficient."""
    return torch.addcmul(torch.zeros_like(row), z, z, value=-0.5).exp_()


def _inner(given: Mapping[str, Tensor], z: Tensor, size: Tensor) -> Tensor:
    """a0 + a1 z + a2 |z|, in one pass for each of the two."""
    total = torch.addcmul(given["a0"], given["a2"], size)
    return total.addcmul_(given["a1"], z) if "a1" in given else total


W3 = Window(("q", "a0", "a2"))
W4 = Window()
W5 = Window(("p", "q", "a0", "a1", "a2"))
