"""Where methods act: convolutions and norms of a network, found by structure and not by architecture."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from harness.networks.stages import stages

# How torchvision and timm call the module on the shortcut of a residual block.
_SHORTCUTS = {"downsample", "shortcut", "proj", "skip"}


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
    """The number of its stage (``harness.networks.stages``); None outside of stages."""


@dataclass(frozen=True, slots=True)
class NormSite:
    """One normalisation layer with a scale (gamma) and a shift (beta) that can train."""

    name: str
    module: nn.Module
    stage: int | None


def conv_sites(backbone: nn.Module) -> list[ConvSite]:
    """Every two-dimensional convolution, in the order in which the network registers them."""
    found = [(name, module) for name, module in backbone.named_modules() if isinstance(module, nn.Conv2d)]
    numbers = stages(backbone)
    return [
        ConvSite(
            name=name,
            module=module,
            stem=position == 0,
            downsample=module.kernel_size == (1, 1) and not _SHORTCUTS.isdisjoint(name.split(".")),
            stage=numbers.get(name),
        )
        for position, (name, module) in enumerate(found)
    ]


def norm_sites(backbone: nn.Module) -> list[NormSite]:
    """Every batch, group, instance or layer norm with affine parameters, in the order of registration."""
    numbers = stages(backbone)
    return [
        NormSite(name, module, numbers.get(name))
        for name, module in backbone.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm)
        and isinstance(module.weight, nn.Parameter)
    ]
