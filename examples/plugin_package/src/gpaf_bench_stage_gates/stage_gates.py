"""Stage gates: a trained squeeze-and-excitation module after each stage of a frozen network."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.api import (
    Choice,
    Float,
    Hyperparameters,
    Method,
    Model,
    NotDefinedError,
    Space,
    conv_sites,
    optimiser_space,
    stages,
)


class Gate(nn.Module):
    """Scale each channel by a factor between 0 and 2 that depends on the whole image; 1 at first."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Float (batch, channels, height, width) to the same shape."""
        means = x.mean(dim=(2, 3))
        factors = 2 * torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))
        return x * factors[:, :, None, None]


class StageGates(Method):
    """Insert a gate after each stage of a frozen network, and train the gates and the head.

    Source: after Hu, Shen and Sun 2018, "Squeeze-and-Excitation Networks", arXiv 1709.01507. With the output x of a
    stage, C channels of H × W values, and h = max(1, floor(C / ``reduction``)):

        z_c = mean of x_c over its H × W values
        g   = 2 · sigmoid(W_2 · relu(W_1 · z + b_1) + b_2),   W_1: h × C,   W_2: C × h
        y_c = g_c · x_c

    W_2 = 0 and b_2 = 0 at first, so that g = 1 and the network starts as pretrained. The source has a gate in each
    block, trained with the network, without the factor 2 and without biases.

    Trains: 2 C h + C + h scalars a stage, and the head.
    """

    name = "stage_gates"
    space: ClassVar[Space] = {
        "reduction": Choice(4, (2, 4, 8, 16), within="[1, 65536]"),
        **optimiser_space(Float(3e-3, 1e-4, 1e-1, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and append a gate to each stage.

        Raises:
            NotDefinedError: the network has no stage that is a sequence of blocks.
        """
        channels = _channels(model.backbone)
        model.backbone.requires_grad_(False)
        for name, width in channels.items():
            stage = model.backbone.get_submodule(name)
            like = next(stage.parameters())
            stage.add_module("gate", Gate(width, _hidden(width, hp)).to(like))

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """2 C h + C + h for each stage."""
        return sum(2 * c * _hidden(c, hp) + c + _hidden(c, hp) for c in _channels(model.backbone).values())


def _hidden(channels: int, hp: Hyperparameters) -> int:
    return max(1, channels // int(hp["reduction"]))


def _channels(backbone: nn.Module) -> dict[str, int]:
    """Path of each stage → channels of its output, those of the last convolution on its main path."""
    places: dict[int, str] = {}
    for name, number in stages(backbone).items():
        if isinstance(backbone.get_submodule(name), nn.Sequential):
            places.setdefault(number, name)  # a stage comes before what is inside it
    found: dict[str, int] = {}
    for site in conv_sites(backbone):
        if site.stage in places and not site.downsample:
            found[places[site.stage]] = site.module.out_channels
    if not found:
        raise NotDefinedError("this network has no stage that is a sequence of blocks")
    return found
