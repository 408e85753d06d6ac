"""M: a step from ReLU towards Swish, with a learned sharpness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.activations.base import negative_part, where_negative
from harness.activations.formulas import Rows, Total

SHUT = 700.0
"""Where σ(-u) is 0 in float32 and 1e-304 in float64."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class Mixture:
    """Δ(x) = q min(x, 0) - l |x| σ(-β |x| / s) with β = exp(b).

    Because x σ(β x) - max(x, 0) = -|x| σ(-β |x|), ReLU with l = 1 and q = 0 is Swish (Ramachandran et al. 2017,
    arXiv 1710.05941) of sharpness β / s. The derivative for b is 0 while l is.
    """

    names: tuple[str, ...] = ("q", "l", "b")
    constants: tuple[str, ...] = ("scale",)

    def delta(self, x: Tensor, coefficients: Rows, constants: Rows) -> Tensor:
        """Δ(x)."""
        q, share, log_sharpness = coefficients
        (scale,) = constants
        size, u = _size(x, log_sharpness, scale)
        return q * negative_part(x) - share * size * torch.sigmoid(-u)

    def derivatives(
        self, x: Tensor, gradient: Tensor, coefficients: Rows, constants: Rows, total: Total, with_slope: bool = True
    ) -> tuple[Tensor | None, Rows]:
        """With u = β |x| / s and g = σ(-u): dΔ/dx = q 1[x <= 0] - l sgn x g (1 - u (1 - g)).

        dΔ/dq = min(x, 0), dΔ/dl = -|x| g, dΔ/db = l |x| g (1 - g) u.
        """
        q, share, log_sharpness = coefficients
        (scale,) = constants
        size, u = _size(x, log_sharpness, scale)
        gate = torch.sigmoid(-u)
        damped = gate * (1 - gate) * u
        slope = where_negative(q, x).addcmul_(x.sign().mul_(share), damped - gate)
        partials = negative_part(x), -size * gate, share * size * damped
        return slope, tuple(total(gradient * partial) for partial in partials)

    def mean_square(self, coefficients: Rows, constants: Rows) -> Tensor:
        """E[(Δ / s)²] = q²/2 + q l E[z² g] + l² E[z² g²], z ~ N(0, 1), g = σ(-β |z|).

        These have no closed form; they are integrated over [0, 10] by Gauss and Legendre's rule of 64 points.
        """
        q, share, log_sharpness = coefficients
        z = torch.as_tensor(5 * (_NODES + 1), dtype=q.dtype, device=q.device)[:, None]
        weight = torch.as_tensor(5 * _WEIGHTS, dtype=q.dtype, device=q.device)[:, None]
        weight = weight * z * z * torch.exp(-0.5 * z * z) * (2 / math.sqrt(2 * math.pi))
        gate = torch.sigmoid(-torch.exp(log_sharpness) * z)
        return q * q / 2 + q * share * (weight * gate).sum(0) + share * share * (weight * gate * gate).sum(0)


M = Mixture()


def _size(x: Tensor, log_sharpness: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """|x|, and β |x| / s as far as the gate is above 0; both finite, because 0 times inf is no number."""
    size = x.abs().clamp(max=torch.finfo(x.dtype).max)
    return size, (torch.exp(log_sharpness) * size / scale).clamp(max=SHUT)
