"""Published activations that look at one value at a time, with their coefficients per channel or per site."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.activations.formulas import broadcast, widen


class ChannelActivation(nn.Module, ABC):
    """An activation with trained vectors, on inputs (N, C, …); half precision is computed in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape and dtype of ``x``."""
        return self.function(widen(x)).to(x.dtype)

    @abstractmethod
    def function(self, x: Tensor) -> Tensor:
        """The activation of a float32 or float64 tensor."""

    def add(self, size: int, **initial: float) -> None:
        """Add trained vectors of ``size`` equal elements, by name."""
        for name, value in initial.items():
            self.register_parameter(name, nn.Parameter(torch.full((size,), value)))

    def row(self, name: str, x: Tensor) -> Tensor:
        """A vector of the module as it broadcasts with ``x``."""
        return broadcast(getattr(self, name), x)


class ScaledActivation(ChannelActivation):
    """One whose coefficients count in units of the channel's frozen ``scale``, 1 until it is set."""

    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(channels))

    def set_statistics(self, scale: Tensor, centre: Tensor | None = None) -> None:
        """As in ``PreservingActivation``; no published form has a centre."""
        with torch.no_grad():
            self.scale.copy_(scale)


class PReLU(ChannelActivation):
    """max(x, 0) + a_c min(x, 0) (He et al. 2015, arXiv 1502.01852), a = 0 at first and not torch's 0.25."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.add(channels, slope=0.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        return F.prelu(x, self.get_parameter("slope").to(x.dtype))


class ScaleShiftAfterReLU(ChannelActivation):
    """p_c max(x, 0) + b_c with p = 1, b = 0 at first: what a linear change can do without a new nonlinearity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.add(channels, p=1.0, b=0.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        return self.row("p", x) * torch.relu(x) + self.row("b", x)


class Swish(ChannelActivation):
    """x σ(β_c x) (Ramachandran et al. 2017, arXiv 1710.05941), β = 1 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.add(channels, beta=1.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        return x * torch.sigmoid(self.row("beta", x) * x)


class AconC(ScaledActivation):
    """(p1 - p2) x σ(β (p1 - p2) x) + p2 x per channel (Ma et al. 2021, "Activate or not").

    ``official`` starts as the authors' code does, from p1, p2 ~ N(0, 1) and β = 1, which destroys a pretrained
    network. Otherwise p1 = 1, p2 = 0 and β = 20 / scale, close to ReLU; β is then trained in units of 1 / scale.
    """

    def __init__(self, channels: int, official: bool = False) -> None:
        super().__init__(channels)
        self.official = official
        self.add(channels, p1=1.0, p2=0.0, beta=1.0 if official else 20.0)
        if official:
            for name in ("p1", "p2"):
                nn.init.normal_(self.get_parameter(name))

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        p2, beta = self.row("p2", x), self.row("beta", x)
        sharpness = beta if self.official else beta / self.row("scale", x)
        turned = (self.row("p1", x) - p2) * x
        return turned * torch.sigmoid(sharpness * turned) + p2 * x


class SReLU(ScaledActivation):
    """Slope a_l below t_l, 1 between t_l and t_r, a_r above t_r, per channel (Jin et al. 2015, arXiv 1512.07030).

    Written as x + (1 - a_l) max(0, t_l - x) + (a_r - 1) max(0, x - t_r), which is the same for t_l <= t_r and equal
    to ReLU bit for bit at first: t_l = a_l = 0, a_r = 1, and t_r is one scale. Thresholds are in units of the scale.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.add(channels, t_left=0.0, a_left=0.0, t_right=1.0, a_right=1.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        scale = self.row("scale", x)
        below = torch.relu(self.row("t_left", x) * scale - x)
        above = torch.relu(x - self.row("t_right", x) * scale)
        return x + (1 - self.row("a_left", x)) * below + (self.row("a_right", x) - 1) * above


class APL(ScaledActivation):
    """max(0, x) + a1 max(0, b1 - x) + a2 max(0, b2 - x) per channel (Agostinelli et al. 2014, arXiv 1412.6830).

    a = 0 at first; b1 is 0 and b2 is one scale, in whose units they are trained. They move once a has.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.add(channels, a1=0.0, b1=0.0, a2=0.0, b2=1.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        scale, result = self.row("scale", x), torch.relu(x)
        for a, b in (("a1", "b1"), ("a2", "b2")):
            result = result + self.row(a, x) * torch.relu(self.row(b, x) * scale - x)
        return result


class SMU(ChannelActivation):
    """((1 + α) x + (1 - α) x erf(μ (1 - α) x)) / 2, a smooth leaky ReLU (Biswas et al. 2021, arXiv 2111.04682).

    α = 0.25 is fixed; the sharpness μ, one a site, trains from 1.
    """

    ALPHA = 0.25

    def __init__(self) -> None:
        super().__init__()
        self.add(1, mu=1.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        gate = torch.erf(self.row("mu", x) * (1 - self.ALPHA) * x)
        return 0.5 * ((1 + self.ALPHA) * x + (1 - self.ALPHA) * x * gate)


class AReLU(ChannelActivation):
    """(1 + σ(β)) x above 0, α x below with α held in [0.01, 0.99] (Chen et al. 2020, "AReLU"); two numbers a site.

    They start from α = 0.9 and β = 2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.add(1, alpha=0.9, beta=2.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        below = self.row("alpha", x).clamp(0.01, 0.99) * -torch.relu(-x)
        return (1 + torch.sigmoid(self.row("beta", x))) * torch.relu(x) + below
