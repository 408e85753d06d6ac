"""Which convolutions get a low-rank update, and of which rank."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from harness.api import ConvSite, Model, NotDefinedError, conv_sites

STAGES = {
    "stage1": (1,), "stage2": (2,), "stage3": (3,), "stage4": (4,), "stage3-4": (3, 4),
}  # fmt: skip


def ranked_targets(
    model: Model,
    wanted: str,
    rank: int,
    cost: Callable[[nn.Conv2d], int],
    beside: Callable[[nn.Conv2d], int] = lambda conv: 0,
) -> list[tuple[ConvSite, int]]:
    """Every convolution that gets an update, with the rank of it.

    ``wanted``: all but the stem (``all``); of these the ``3x3``, those off the shortcuts (``no_downsample``), those
    of one group (``dense``), or those of stages. A grouped convolution has few weights an output, a depthwise one
    k² in all: its rank is ``rank``, but at most the largest with which the update has fewer scalars than the kernel,
    and where not even rank 1 has, it is left out.

    Args:
        model: the network.
        wanted: which, as above.
        rank: of the update of a convolution of one group, at least 1.
        cost: scalars of an update of rank 1, without those of ``beside``.
        beside: scalars that an update has whatever its rank.

    Raises:
        NotDefinedError: there is none.
    """
    ranked = [(site, _rank(site.module, rank, cost, beside)) for site in wanted_sites(model, wanted)]
    found = [(site, own) for site, own in ranked if own > 0]
    if not found:
        raise NotDefinedError(f"this network has no convolution for targets={wanted}")
    return found


def wanted_sites(model: Model, wanted: str) -> list[ConvSite]:
    """The convolutions that ``targets`` names, all but the stem at most; see ``ranked_targets``."""
    return [
        site
        for site in conv_sites(model.backbone)
        if not site.stem
        and (wanted != "3x3" or site.module.kernel_size == (3, 3))
        and (wanted != "no_downsample" or not site.downsample)
        and (wanted != "dense" or site.module.groups == 1)
        and (wanted not in STAGES or site.stage in STAGES[wanted])
    ]


def _rank(conv: nn.Conv2d, rank: int, cost: Callable[[nn.Conv2d], int], beside: Callable[[nn.Conv2d], int]) -> int:
    return rank if conv.groups == 1 else min(rank, (conv.weight.numel() - beside(conv) - 1) // cost(conv))
