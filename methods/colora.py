"""CoLoRA: a separable convolution beside each spatial one, folded into it in the end."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

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

from ._branch import LinearBranch, add_branch, merge_branches


class Separable(LinearBranch):
    """depth(point(x)): a 1×1 convolution and a depthwise one of the size of another, which is 0 at first."""

    def __init__(self, beside: nn.Conv2d) -> None:
        super().__init__()
        point = torch.empty(beside.out_channels, beside.in_channels // beside.groups)
        self.point = nn.Parameter(nn.init.xavier_uniform_(point))
        self.depth = nn.Parameter(torch.zeros(beside.out_channels, *beside.kernel_size))

    def kernel(self) -> Tensor:
        """For each output its weights of the inputs times its one map of pixels, (co, ci / g, kh, kw)."""
        return torch.einsum("oi,ohw->oihw", self.point, self.depth)


class Colora(Method):
    """Add a separable convolution, 1×1 and then depthwise, to each frozen convolution; in the end they are one.

    Source: Rivera and Hoyos 2025, "CoLoRA: efficient fine-tuning for convolutional models with a study case on optical
    coherence tomography image classification", arXiv 2505.18315, and the authors' code. For a kernel W0 in
    R^(c_o × c_i × k × k)

        y = W0 * x + D ⊛ (P x),   P in R^(c_o × c_i),   D in R^(c_o × k × k) depthwise, with the stride of W0,

    which is one convolution with W_oi = W0_oi + P_oi D_o. P starts as Glorot and Bengio draw weights,
    U(-sqrt(6 / (c_i + c_o)), sqrt(6 / (c_i + c_o))), and D = 0, so that the network starts as pretrained. There is no
    rank and no scale.

    ``targets``: convolutions whose update has fewer scalars than their kernel (``smaller``), or every one but the stem
    (``all``). The former leaves out those of one pixel, where P alone is as large as W0, and depthwise ones. The
    authors' code adapts all of a VGG-16, which has 3×3 ones alone, and of a ResNet-50 the 1×1 ones too, with more than
    half of the scalars of full fine-tuning. Of a convolution with g groups P has the same groups, so that the update
    stays one of the kernel that it has; the authors have none.

    Deviations: the authors train a bias with P and D, of which that of P cannot be folded in at the border of an image;
    here both have none. Their study folds the update in and starts a new one after each epoch, their published code
    once in the end, as is done here. The stem is left alone. ``weight_decay`` pulls W to W0.

    Trains: c_i/g c_o + c_o k² scalars a convolution (for ResNet-50 1,291,456; with ``all`` 13,442,432) and the head.
    """

    name = "colora"
    space: ClassVar[Space] = {
        "targets": Fixed("smaller", allowed=("smaller", "all")),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and add a branch to every target.

        Raises:
            NotDefinedError: the network has no target.
        """
        sites = _targets(model, hp)
        model.backbone.requires_grad_(False)
        for site in sites:
            add_branch(model, site.name, Separable(site.module))

    def merge(self, model: Model) -> None:
        """Fold every branch into the kernel beside it."""
        merge_branches(model)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """c_i/g c_o + c_o k² for each target."""
        return sum(_scalars(site.module) for site in _targets(model, hp))


def _targets(model: Model, hp: Hyperparameters) -> list[ConvSite]:
    sites = [site for site in conv_sites(model.backbone) if not site.stem]
    if not sites:
        raise NotDefinedError("this network has no convolution beside its first")
    if hp["targets"] == "all":
        return sites
    smaller = [site for site in sites if _scalars(site.module) < site.module.weight.numel()]
    if not smaller:
        raise NotDefinedError(
            "no kernel of this network is larger than its update; targets=all adapts them all the same"
        )
    return smaller


def _scalars(conv: nn.Conv2d) -> int:
    """Scalars of P and D."""
    height, width = conv.kernel_size
    return conv.out_channels * (conv.in_channels // conv.groups + height * width)
