"""+L: a step of diffusion beside an activation, zero at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness.activations.base import PreservingActivation


class WithLaplacian(nn.Module):
    """f(x) + kappa_c · (L x), L the five-point Laplacian of each channel, on inputs (N, C, H, W).

    At the border the image is continued by its outermost pixels, so that L of a constant is 0 everywhere.
    ``kappa`` is 0 at first, which leaves f as it is wherever L x is finite.

    Args:
        activation: f.
        channels: C.
        groups: number of values of kappa, a divisor of ``channels``; None is one a channel.
        kappa: a parameter of shape (groups,) that another site has already, to share it.
    """

    def __init__(
        self,
        activation: PreservingActivation,
        channels: int,
        groups: int | None = None,
        kappa: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        groups = channels if groups is None else groups
        if groups < 1 or channels % groups:
            raise ValueError(f"{channels} channels cannot be shared out among {groups} groups of equal size")
        if kappa is not None and kappa.shape != (groups,):
            raise ValueError(f"shared kappa has the shape {tuple(kappa.shape)}, this site needs {(groups,)}")
        self.activation, self.channels = activation, channels
        self.kappa = nn.Parameter(torch.zeros(groups)) if kappa is None else kappa

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape and dtype of ``x``."""
        value: Tensor = self.activation(x, self.kappa.repeat_interleave(self.channels // self.kappa.numel()))
        return value


def laplacian(x: Tensor) -> Tensor:
    """Sum of the four neighbours' differences from each pixel of (N, C, H, W); beyond the border is the last pixel."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    neighbours = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return neighbours - 4 * x
