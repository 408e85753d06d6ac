"""Which convolutions get a low-rank update."""

from __future__ import annotations

from harness.api import ConvSite, Model, conv_sites

STAGES = {
    "stage1": (1,), "stage2": (2,), "stage3": (3,), "stage4": (4,), "stage3-4": (3, 4),
}  # fmt: skip


def targets(method: str, model: Model, wanted: str) -> list[ConvSite]:
    """Every convolution but the stem (``all``); of these the ``3x3``, those off the shortcuts, or those of stages.

    Raises:
        ValueError: there is none.
    """
    sites = [
        site
        for site in conv_sites(model.backbone)
        if not site.stem
        and (wanted != "3x3" or site.module.kernel_size == (3, 3))
        and (wanted != "no_downsample" or not site.downsample)
        and (wanted not in STAGES or site.stage in STAGES[wanted])
    ]
    if not sites:
        raise ValueError(f"{method}: this network has no convolution for targets={wanted}")
    return sites
