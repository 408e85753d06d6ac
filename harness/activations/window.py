"""W: a residual under a Gaussian window, for a channel's own scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.activations.base import Rows, negative_part, positive_part

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
        result = scale * _window(z) * _inner(given, z, z.abs())
        if "q" in given:
            result = torch.addcmul(result, given["q"], negative_part(x))
        if "p" in given:
            result = torch.addcmul(result, given["p"], positive_part(x))
        return result

    def derivatives(self, x: Tensor, coefficients: Rows, constants: Rows) -> tuple[Tensor, Rows]:
        """dΔ/dx = p 1[x >= 0] + q 1[x <= 0] + w (a1 + a2 sgn z - z (a0 + a1 z + a2 |z|)).

        dΔ/dφ is the function that the coefficient φ stands before.
        """
        given = dict(zip(self.names, coefficients, strict=True))
        (scale,) = constants
        raw = x / scale
        z = raw.clamp(-REACH, REACH)
        # In place where it can be: nothing is differentiated further here.
        window = z.square().mul_(-0.5).exp_()
        height, side = scale * window, z.sign()
        rise = torch.addcmul(given["a1"], given["a2"], side) if "a1" in given else given["a2"] * side
        inner = torch.addcmul(given["a0"], rise, z)
        bend = rise.addcmul_(inner, z, value=-1).mul_(window)
        # 0 beyond the reach, where z no longer follows x.
        slope: Tensor = torch.ops.aten.hardtanh_backward(bend, raw, -REACH, REACH)
        if "q" in given:
            slope.addcmul_(given["q"], (x <= 0).to(x.dtype))
        if "p" in given:
            slope.addcmul_(given["p"], (x >= 0).to(x.dtype))
        odd = height * z
        partials = {"a0": height, "a1": odd, "a2": odd * side}
        partials |= {"q": negative_part(x)} if "q" in given else {}
        partials |= {"p": positive_part(x)} if "p" in given else {}
        return slope, tuple(partials[name] for name in self.names)

    def mean_square(self, coefficients: Rows, constants: Rows) -> Tensor:
        """E[(Δ / s)²] from the Gaussian moments above; the clipping of z is beneath float64's resolution."""
        given = dict(zip(self.names, coefficients, strict=True))
        total = torch.zeros_like(coefficients[0])
        for (first, second), moment in _MOMENTS.items():
            if first in given and second in given:
                total = total + (1 if first == second else 2) * moment * given[first] * given[second]
        return total


def _window(z: Tensor) -> Tensor:
    return z.square().mul(-0.5).exp()


def _inner(given: Mapping[str, Tensor], z: Tensor, size: Tensor) -> Tensor:
    """a0 + a1 z + a2 |z|, in one pass for each of the two."""
    total = torch.addcmul(given["a0"], given["a2"], size)
    return torch.addcmul(total, given["a1"], z) if "a1" in given else total


W3 = Window(("q", "a0", "a2"))
W4 = Window()
W5 = Window(("p", "q", "a0", "a1", "a2"))
