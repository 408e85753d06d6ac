"""Published activations of free form: a ratio of polynomials, and a piecewise linear curve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.activations.formulas import broadcast
from harness.activations.pointwise import ScaledActivation
from harness.activations.rational import RELU_DENOMINATOR

_NUMERATOR = (0.03391, 0.5, 1.66936, 1.98823, 0.93997, 0.15062)
"""With ``RELU_DENOMINATOR`` the least squares fit to ReLU on [-3, 3]; the largest error there is 0.034, at 0."""


class PadeUnit(ScaledActivation):
    """s P(x / s) / (1 + |Q(x / s)|), P of degree 5, Q of degree 4 without constant.

    Source: Molina et al. 2019, "Padé activation units", arXiv 1907.06732, the form without poles.

    Starts as the closest such function to ReLU within three scales of 0, which is not ReLU itself.

    Args:
        channels: C.
        groups: 1 for ten coefficients a site, ``channels`` for ten a channel.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        self.numerator = nn.Parameter(torch.tensor(_NUMERATOR)[:, None].repeat(1, groups))
        self.denominator = nn.Parameter(torch.tensor(RELU_DENOMINATOR)[:, None].repeat(1, groups))

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        scale = self.row("scale", x)
        z = x / scale
        *higher, constant = reversed(broadcast(self.numerator, x).unbind())
        above = torch.zeros_like(z)
        for coefficient in higher:
            above = (above + coefficient) * z
        below = torch.zeros_like(z)
        for coefficient in reversed(broadcast(self.denominator, x).unbind()):
            below = (below + coefficient) * z
        return scale * (above + constant) / (1 + below.abs())


class PiecewiseLinearUnit(ScaledActivation):
    """Linear between 17 equally spaced points of which the values train, linear outside (Zhou et al. 2021, "PWLU").

    Per channel: the values at the points, the slopes on either side, and the first and the last point, together 21
    numbers. Points reach from -4 to 4 at first, values are those of ReLU. All are in units of the power of two that
    is next above the scale: with it, and with a point at 0, the interpolation gives ReLU back bit for bit.
    """

    INTERVALS = 16

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        points = torch.linspace(-4.0, 4.0, self.INTERVALS + 1)
        self.values = nn.Parameter(points.clamp(min=0.0).repeat(channels, 1))
        self.add(channels, left=-4.0, right=4.0, slope_left=0.0, slope_right=1.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        _, exponent = torch.frexp(self.scale)
        unit = broadcast(torch.ldexp(torch.ones_like(self.scale), exponent), x)
        left, right = self.row("left", x), self.row("right", x)
        z = x / unit
        width = (right - left) / self.INTERVALS
        position = ((z - left) / width).detach().nan_to_num()
        index = position.floor().clamp(0, self.INTERVALS - 1).long()

        values = self.values.to(x.dtype)
        start = broadcast(torch.arange(len(values), device=x.device) * (self.INTERVALS + 1), index)
        low, high = values.flatten()[start + index], values.flatten()[start + index + 1]
        within = low + (z - (left + index * width)) * ((high - low) / width)
        before = broadcast(values[:, 0], x) + (z - left) * self.row("slope_left", x)
        after = broadcast(values[:, -1], x) + (z - right) * self.row("slope_right", x)
        return unit * torch.where(z < left, before, torch.where(z > right, after, within))
