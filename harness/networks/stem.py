"""ResNets with the stem of He et al. 2016, section 4.2, for small images: 3×3, stride 1, no max-pooling."""

from __future__ import annotations

from typing import Any

from torch import nn

from harness.core.errors import RequestError, shortened
from harness.spec.forms import SMALL_STEM


def split_stem(name: str) -> tuple[str, bool]:
    """The name of the network, and whether it has this stem: ``resnet18:small_stem`` has."""
    return name.removesuffix(SMALL_STEM), name.endswith(SMALL_STEM)


def check_small_stem(name: str) -> None:
    """Check that a network of torchvision has a stem that this one can take the place of.

    Raises:
        RequestError: it is none of its ResNets.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known or models.get_model_builder(name).__module__ != models.resnet.__name__:
        raise RequestError(
            f"backbone.stem: a small one is defined for torchvision's ResNets (resnet18, resnext50_32x4d, "
            f"wide_resnet50_2), not for {shortened(name)}; leave it out"
        )


def place_small_stem(network: Any) -> None:
    """Exchange the first convolution (7×7, stride 2) for a 3×3 one without stride, and drop the max-pooling.

    The new weights are drawn as torchvision draws those of its ResNets, from torch's global generator.
    """
    old: nn.Conv2d = network.conv1
    network.conv1 = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
