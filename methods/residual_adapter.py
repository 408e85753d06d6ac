"""Residual adapters: a trained 1×1 convolution beside each spatial one."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from harness.api import ConvSite, Fixed, Float, Hyperparameters, Method, Model, Space, conv_sites, optimiser_space

from ._branch import Pointwise, add_branch, merge_branches


class ResidualAdapter(Method):
    """Add the output of a 1×1 convolution to that of each frozen 3×3 one.

    Source: Rebuffi et al. 2018, "Efficient parametrization of multi-domain deep neural networks", arXiv 1803.10082,
    and Li et al. 2022, "Cross-domain few-shot learning with task-specific adapters" (TSA), arXiv 2107.00358. For
    every convolution of more than one pixel but the stem, with c_i inputs and c_o outputs,

        y = W0 * x + A x,   A in R^(c_o × c_i) with the stride of W0, before the norm.

    A = 0 at first, so that the network starts as pretrained; TSA's code starts from 10^-4 times the identity, which
    is not quite that. Its other part, a linear map of the features before the classifier, is left out: the head
    here is linear already. ``rank`` r > 0 writes A as a product of c_o × r and r × c_i, the first 0 and the second
    random at first. ``weight_decay`` pulls A to 0. It is computed, and merged, as an addition to the middle of the
    kernel.

    Trains: A of each site (for ResNet-50 1,257,472 scalars, 60,416 of rank 8) and the head.
    """

    name = "residual_adapter"
    space: ClassVar[Space] = {
        "rank": Fixed(0, within="[0, 4096]"),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and add a branch at every site.

        Raises:
            ValueError: no convolution is a site, one cannot hold a 1×1 kernel in its middle, or a negative rank.
        """
        rank = int(hp["rank"])
        if rank < 0:
            raise ValueError(f"residual_adapter: rank={rank} must be 0, for none, or above")
        sites = _sites(model)
        model.backbone.requires_grad_(False)
        for site in sites:
            add_branch(model, site.name, Pointwise(site.module, rank))

    def merge(self, model: Model) -> None:
        """Fold every A into the kernel beside it."""
        merge_branches(model)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """c_i c_o for each site, or (c_i + c_o) r."""
        rank, convs = int(hp["rank"]), [site.module for site in _sites(model)]
        if rank:
            return sum(rank * (conv.in_channels + conv.out_channels) for conv in convs)
        return sum(conv.in_channels * conv.out_channels for conv in convs)


def _sites(model: Model) -> list[ConvSite]:
    sites = [s for s in conv_sites(model.backbone) if not s.stem and s.module.kernel_size != (1, 1)]
    if not sites:
        raise ValueError("residual_adapter: this network has no spatial convolution beside its first; take a ResNet")
    for site in sites:
        if site.module.groups != 1 or not _centred(site.module):
            raise ValueError(
                f"residual_adapter: {site.name} is grouped, or not padded to keep its middle; take a ResNet"
            )
    return sites


def _centred(conv: nn.Conv2d) -> bool:
    middle = tuple(step * (size // 2) for step, size in zip(conv.dilation, conv.kernel_size, strict=True))
    return conv.padding == middle and all(size % 2 for size in conv.kernel_size)
