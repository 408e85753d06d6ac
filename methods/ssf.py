"""SSF: a trained scale and shift after each norm."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.api import (
    Float,
    Hyperparameters,
    Method,
    Model,
    NormSite,
    NotDefinedError,
    ParamGroup,
    Space,
    norm_sites,
    optimiser_space,
)


class ScaledNorm(nn.Module):
    """A frozen norm with gamma and beta, and s · y + t per channel of its output y; s = 1 and t = 0 at first.

    Computed as one norm with s gamma and s beta + t, which saves two passes over the activations; what is folded
    in the end is then what was trained, to the last bit.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.scale = nn.Parameter(torch.ones_like(norm.get_parameter("weight")))
        self.shift = nn.Parameter(torch.zeros_like(norm.get_parameter("bias")))

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape of ``x``."""
        value: Tensor = functional_call(self.norm, self.affine(), x)
        return value

    def affine(self) -> dict[str, Tensor]:
        """Gamma and beta of the norm that computes the same alone."""
        gamma, beta = self.norm.get_parameter("weight"), self.norm.get_parameter("bias")
        return {"weight": gamma * self.scale, "bias": beta * self.scale + self.shift}

    def merged(self) -> nn.Module:
        """That norm."""
        with torch.no_grad():
            for name, value in self.affine().items():
                self.norm.get_parameter(name).copy_(value)
        return self.norm


class Ssf(Method):
    """Scale and shift the output of every norm; the network itself is frozen.

    Source: Lian et al. 2022, "Scaling & shifting your features: a new baseline for efficient model tuning",
    arXiv 2210.08823. Per channel c, with the pretrained statistics and the pretrained gamma and beta

        y = s_c · (gamma_c · (x - mean_c) / sqrt(var_c + eps) + beta_c) + t_c,   s = 1 and t = 0 at first.

    The source puts them after every operation; here they stand after each batch, group or layer norm (whose mean and
    variance are the image's own), which in a ResNet directly follows each convolution. As s gamma and s beta + t are
    a gamma and a beta, the functions are those of ``bn_affine`` in other coordinates: a step changes them by another
    amount. ``merge`` folds s and t into the norm. They are not decayed: that would switch channels off;
    ``weight_decay`` is the head's.

    Trains: two scalars a channel of every norm (53,120 for ResNet-50) and the head.
    """

    name = "ssf"
    space: ClassVar[Space] = optimiser_space(Float(1e-3, 1e-4, 1e-1, log=True))

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and put s and t behind every norm.

        Raises:
            NotDefinedError: the network has no norm with gamma and beta.
        """
        sites = _sites(model)
        model.backbone.requires_grad_(False)
        for site in sites:
            model.backbone.set_submodule(site.name, ScaledNorm(site.module).train(site.module.training))

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """Scales and shifts without weight decay, the head with it."""
        own, head = super().param_groups(model, hp)
        own.weight_decay = 0.0
        return [own, head]

    def merge(self, model: Model) -> None:
        """Fold scales and shifts into the norms and make these plain again."""
        for name, module in list(model.backbone.named_modules()):
            if isinstance(module, ScaledNorm):
                model.backbone.set_submodule(name, module.merged())

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """Two scalars a channel."""
        return sum(2 * site.module.get_parameter("weight").numel() for site in _sites(model))


def _sites(model: Model) -> list[NormSite]:
    sites = [site for site in norm_sites(model.backbone) if isinstance(site.module.bias, nn.Parameter)]
    if not sites:
        raise NotDefinedError("this network has no norm with a scale and a shift")
    return sites
