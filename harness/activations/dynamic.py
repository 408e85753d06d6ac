"""Published activations that look at more than one value: at the whole image, or at its neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.activations.formulas import broadcast, widen
from harness.activations.laplacian import laplacian
from harness.activations.pointwise import ChannelActivation


class MetaAcon(ChannelActivation):
    """ACON-C whose β comes from the image (Ma et al. 2021, "Activate or not"); inputs (N, C, H, W).

    β = σ(norm(fc2(norm(fc1(mean over pixels))))) with C / 16 hidden units, but at least 16. p1 = 1 and p2 = 0 at
    first, where the authors draw both from N(0, 1).
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(reduction, channels // reduction)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.Conv2d(hidden, channels, 1),
            nn.BatchNorm2d(channels),
            nn.Sigmoid(),
        )
        self.add(channels, p1=1.0, p2=0.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        beta = widen(self.gate(x.mean((2, 3), keepdim=True)))
        p2 = self.row("p2", x)
        turned = (self.row("p1", x) - p2) * x
        return turned * torch.sigmoid(beta * turned) + p2 * x


class DynamicReLU(ChannelActivation):
    """max over k = 1, 2 of a_k x + b_k, with a and b from the image (Chen et al. 2020, "Dynamic ReLU").

    With t = 2 σ(fc2(ReLU(fc1(mean over pixels)))) - 1 and C / 8 hidden units: a_1 = 1 + t_1, a_2 = t_2, b_1 = t_3 / 2,
    b_2 = t_4 / 2. Form A shares the four among all channels, form B has them per channel. fc2 is 0 at first, which
    makes it ReLU; fc1 moves once fc2 has.
    """

    def __init__(self, channels: int, per_channel: bool, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, 4 * channels if per_channel else 4)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        pixels = tuple(range(2, x.dim()))
        mean = x.mean(pixels) if pixels else x
        t = 2 * torch.sigmoid(widen(self.fc2(torch.relu(self.fc1(mean))))) - 1
        a1, a2, b1, b2 = broadcast(t.reshape(len(t), 4, -1), x).unbind(1)
        return torch.maximum((1 + a1) * x + b1 / 2, a2 * x + b2 / 2)


class FunnelReLU(nn.Module):
    """max(x, norm(depthwise 3×3 convolution of x)) (Ma et al. 2020, arXiv 2007.11824); inputs (N, C, H, W).

    The norm's gamma and beta are 0 at first, which makes it ReLU; the kernels move once gamma has.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape and dtype of ``x``."""
        return torch.maximum(x, self.norm(self.conv(x)).to(x.dtype))


class KleinGordonLaplacian(ChannelActivation):
    """x + a L x + b x + c x² per channel, L the five-point Laplacian, a, b, c = 0.1, 1, 0.1 at first.

    The activation ``KGLAP`` of this benchmark's public prototype, kept as a negative control: it is far from ReLU
    at first, and its square is not bounded: with frozen norms a network of twenty layers overflows.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.add(channels, a=0.1, b=1.0, c=0.1)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        return x + self.row("a", x) * laplacian(x) + self.row("b", x) * x + self.row("c", x) * x * x


class KleinGordonWave(ChannelActivation):
    """a cos(b x) + c sin(b x) per channel, a, b, c = 1, 1, 0 at first.

    The activation ``KGGEN`` of this benchmark's public prototype, kept as a negative control.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.add(channels, a=1.0, b=1.0, c=0.0)

    def function(self, x: Tensor) -> Tensor:
        """The formula above."""
        phase = self.row("b", x) * x
        return self.row("a", x) * torch.cos(phase) + self.row("c", x) * torch.sin(phase)
