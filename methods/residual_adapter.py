"""Residual adapters: a trained 1×1 convolution beside each spatial one."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from harness.api import (
    ConvSite,
    Fixed,
    Float,
    Hyperparameters,
    Method,
    Model,
    NotDefinedError,
    Space,
    conv_sites,
    optimiser_space,
)

from ._branch import Pointwise, add_branch, merge_branches


class ResidualAdapter(Method):
    """Add the output of a 1×1 convolution to that of each frozen 3×3 one.

    Source: Rebuffi et al. 2018, "Efficient parametrization of multi-domain deep neural networks", arXiv 1803.10082,
    and Li et al. 2022, "Cross-domain few-shot learning with task-specific adapters" (TSA), arXiv 2107.00358. For
    every convolution of more than one pixel but the stem, with c_i inputs and c_o outputs,

        y = W0 * x + A x,   A in R^(c_o × c_i) with the stride of W0, before the norm.

    A reads the pixel under the middle of the kernel; convolutions of even size (between ConvNeXt's stages) have no
    middle and are left alone. The sources have no convolution of several groups: beside one of g groups A has the
    same groups, A in R^(c_o × c_i/g), which for a depthwise one is a factor a channel.

    A = 0 at first, so that the network starts as pretrained; TSA's code starts from 10^-4 times the identity, which
    is not quite that. Its other part, a linear map of the features before the classifier, is left out: the head here
    is linear already. ``rank`` r > 0 writes A as a product of c_o × r and r × c_i/g, the first 0 and the second
    random at first; of several groups only where the product has fewer scalars than A. ``weight_decay`` pulls A to 0.
    It is computed, and merged, as an addition to the middle of the kernel.

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
            NotDefinedError: no convolution is a site.
            ValueError: a negative rank.
        """
        rank = int(hp["rank"])
        if rank < 0:
            raise ValueError(f"residual_adapter: rank={rank} must be 0, for none, or above")
        sites = _sites(model)
        model.backbone.requires_grad_(False)
        for site in sites:
            add_branch(model, site.name, Pointwise(site.module, _rank(site.module, rank)))

    def merge(self, model: Model) -> None:
        """Fold every A into the kernel beside it."""
        merge_branches(model)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """c_i/g c_o for each site, or (c_i/g + c_o) r."""
        convs = [site.module for site in _sites(model)]
        return sum(_scalars(conv, _rank(conv, int(hp["rank"]))) for conv in convs)


def _sites(model: Model) -> list[ConvSite]:
    spatial = [site for site in conv_sites(model.backbone) if not site.stem and site.module.kernel_size != (1, 1)]
    sites = [site for site in spatial if all(size % 2 for size in site.module.kernel_size)]
    if not sites:
        raise NotDefinedError("this network has no spatial convolution of odd size beside its first")
    return sites


def _rank(conv: nn.Conv2d, rank: int) -> int:
    """The rank of A; 0 where it is no product."""
    return rank if conv.groups == 1 or _scalars(conv, rank) < _scalars(conv, 0) else 0


def _scalars(conv: nn.Conv2d, rank: int) -> int:
    inputs = conv.in_channels // conv.groups
    return rank * (inputs + conv.out_channels) if rank else inputs * conv.out_channels
