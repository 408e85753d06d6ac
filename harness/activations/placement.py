"""Putting trained activations into a network: at which of its calls, and with which scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from harness.activations.base import PreservingActivation
from harness.activations.pointwise import ScaledActivation
from harness.activations.scale import calibrate, scale_from_norm
from harness.method import NotDefinedError
from harness.networks.activation_sites import ActivationSite, expose_activations, replace_activation
from harness.networks.backbones import Model

SITES = ("all", "act1", "act2", "act3", "after_norm", "last_stage", "last_block")
"""Names of selections: all calls; the first, second or third of each block; those that take a batch norm's output
as it is; those of the last stage or of the last block."""

SCALES = ("norm", "measured", "one")
"""Where a channel's scale comes from: the norm before it and a measurement where there is none, a measurement
everywhere, or nowhere."""


@dataclass(frozen=True)
class Placed:
    """An activation and the call in whose place it stands."""

    site: ActivationSite
    activation: nn.Module
    """Takes (N, C, …), whatever the network's layout; the module that has ``set_statistics``, if any."""


class LastDimension(nn.Module):
    """Hands (N, …, C) to an activation as (N, C, …) and gives it back as it was."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape of ``x``."""
        value: Tensor = self.activation(x.movedim(-1, 1))
        return value.movedim(1, -1)


def chosen_sites(model: Model, which: str) -> list[ActivationSite]:
    """The activation calls of a selection of ``SITES``, in order of execution; exposes all of them.

    Raises:
        NotDefinedError: the network allows none, or has none of this selection.
    """
    try:
        sites = expose_activations(model)
    except ValueError as error:
        raise NotDefinedError(str(error)) from error
    stages = [site.stage for site in sites if site.stage is not None]
    blocks = [site.block for site in sites if site.block]
    keep: dict[str, Callable[[ActivationSite], bool]] = {
        "all": lambda site: True,
        "after_norm": lambda site: site.norm is not None,
        "last_stage": lambda site: bool(stages) and site.stage == stages[-1],
        "last_block": lambda site: bool(blocks) and site.block == blocks[-1],
        "act1": lambda site: site.position == 1,
        "act2": lambda site: site.position == 2,
        "act3": lambda site: site.position == 3,
    }
    found = [site for site in sites if keep[which](site)]
    if not found:
        raise NotDefinedError(f"this network has no activation for sites={which}; take sites=all")
    return found


def place(model: Model, site: ActivationSite, activation: nn.Module) -> None:
    """Put an activation that takes (N, C, …) in the place of a call."""
    replace_activation(model, site, activation if site.channel_dim == 1 else LastDimension(activation))


def scales_from_norms(placed: list[Placed]) -> None:
    """Set the scale of each activation that directly follows a batch norm with gamma and beta."""
    for one in placed:
        if _has_norm(one.site) and isinstance(one.activation, PreservingActivation | ScaledActivation):
            assert one.site.norm is not None
            one.activation.set_statistics(*scale_from_norm(one.site.norm))


def measure_scales(model: Model, placed: list[Placed], batches: Iterator[Tensor], source: str) -> None:
    """Set the scales that ``source`` (of ``SCALES``) leaves to a measurement on training images.

    Raises:
        ValueError: there is no batch, or an input is not finite.
    """
    scaled = {
        one.site.name: one.activation
        for one in placed
        if isinstance(one.activation, PreservingActivation | ScaledActivation)
        and (source == "measured" or (source == "norm" and not _has_norm(one.site)))
    }
    if scaled:
        for name, statistics in calibrate(model, scaled, batches).items():
            scaled[name].set_statistics(*statistics)


def _has_norm(site: ActivationSite) -> bool:
    return site.norm is not None and site.norm.weight is not None and site.norm.bias is not None
