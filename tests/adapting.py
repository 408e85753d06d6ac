"""A method at work on a network, without training: adapted, and its tensors moved as if they had trained."""

from __future__ import annotations

from typing import Any

import torch
from jobs import CATALOGUE
from torch import nn

from harness.method import Method
from harness.networks.backbones import Model
from harness.space.parameters import defaults


def adapted(name: str, model: Model, **hp: Any) -> tuple[Method, Model]:
    """A method of that name and the model that it has changed, with its defaults but for ``hp``."""
    method = CATALOGUE.all(Method)[name].cls()
    torch.manual_seed(1)
    method.adapt(model, {**defaults(method.space), **hp})
    return method, model


def fill(module: nn.Module, amount: float = 0.1) -> None:
    """Move every tensor that trains."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(amount * torch.randn(parameter.shape, generator=generator))


def chain(groups: int = 1, kernel: int = 3, outputs: int = 16, **other: Any) -> Model:
    """A stem and a convolution of 8 channels to others, in so many groups, with a stride and a bias."""
    torch.manual_seed(0)
    conv = nn.Conv2d(8, outputs, kernel, stride=2, padding=kernel // 2, groups=groups, **other)
    return Model(nn.Sequential(nn.Conv2d(3, 8, 3), conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()), outputs, 4)
