"""Where methods act: convolutions and norms of a network, found by structure and not by architecture."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

# How torchvision and timm call the module on the shortcut of a residual block.
_SHORTCUTS = {"downsample", "shortcut", "proj", "skip"}
# ``layer1``, ``features.denseblock1``, ``trunk_output.block1``; ``stages.0``, ``blocks.0``. Only near the top
# of the path: further down, ``block.2`` is a place inside a residual block.
_STAGE = re.compile(r"(?:\w+\.)?(?:layer|stage|block|denseblock)_?(\d+)(?=\.|$)|(?:stages|blocks)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class ConvSite:
    """One convolution of a network."""

    name: str
    """Path of the module below the backbone."""
    module: nn.Conv2d
    stem: bool
    """The first convolution, the one that sees the image."""
    downsample: bool
    """A convolution of one pixel on a shortcut, which fits a residual block's input to its output."""
    stage: int | None
    """The number in the name of its stage, as the architecture counts; None outside of named stages."""


@dataclass(frozen=True, slots=True)
class NormSite:
    """One normalisation layer with a scale (gamma) and a shift (beta) that can train."""

    name: str
    module: nn.Module
    stage: int | None


def conv_sites(backbone: nn.Module) -> list[ConvSite]:
    """Every two-dimensional convolution, in the order in which the network registers them."""
    found = [(name, module) for name, module in backbone.named_modules() if isinstance(module, nn.Conv2d)]
    return [
        ConvSite(
            name=name,
            module=module,
            stem=position == 0,
            downsample=module.kernel_size == (1, 1) and not _SHORTCUTS.isdisjoint(name.split(".")),
            stage=stage_of(name),
        )
        for position, (name, module) in enumerate(found)
    ]


def norm_sites(backbone: nn.Module) -> list[NormSite]:
    """Every batch, group, instance or layer norm with affine parameters, in the order of registration."""
    return [
        NormSite(name, module, stage_of(name))
        for name, module in backbone.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm)
        and isinstance(module.weight, nn.Parameter)
    ]


def stage_of(name: str) -> int | None:
    """The number in the name of the stage to which a module's path leads; None outside of named stages."""
    match = _STAGE.match(name)
    return int(match[1] or match[2]) if match else None
