"""What a comparison says along axes of its tasks: training sizes, networks, and domains that are tested in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.comparison.compare import Analysis
from analysis.comparison.held_out_domains import NewDomains, on_new_domains
from analysis.comparison.networks import OnNetworks, on_networks
from analysis.comparison.training_sizes import CurveFindings, curve_findings


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Domains of one dataset, each held out once."""

    dataset: str
    domains: Mapping[str, str]
    """Label of the task → the domains that it is tested on."""
    pairs: tuple[NewDomains, ...]


@dataclass(frozen=True, slots=True)
class AxisFindings:
    """What was found along each axis; empty where there is none."""

    curves: tuple[CurveFindings, ...] = ()
    networks: tuple[OnNetworks, ...] = ()
    held_out: tuple[HeldOut, ...] = ()


def along(
    analysis: Analysis,
    sizes: Mapping[str, Mapping[str, int]],
    networks: Mapping[str, Mapping[str, str]],
    domains: Mapping[str, Mapping[str, str]],
) -> AxisFindings:
    """The comparison along its axes.

    Args:
        analysis: in which each task is a dataset label of its own.
        sizes: name → label → training images.
        networks: name → network → label.
        domains: name → label → what is tested.
    """
    curves = [curve_findings(analysis.evidence, name, own) for name, own in sizes.items()]
    return AxisFindings(
        curves=tuple(one for one in curves if one is not None),
        networks=tuple(on_networks(analysis, networks)),
        held_out=tuple(HeldOut(name, own, tuple(on_new_domains(analysis, own))) for name, own in domains.items()),
    )
