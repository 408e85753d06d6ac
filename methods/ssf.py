"""SSF: a trained scale and shift after each batch norm."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from harness.api import Float, Hyperparameters, Method, Model, ParamGroup, Space, optimiser_space


class ScaledNorm(nn.Module):
    """A frozen batch norm, and s · y + t per channel of its output y; s = 1 and t = 0 at first.

    Computed as one norm with s gamma and s beta + t, which saves two passes over the activations; what is folded
    in the end is then what was trained, to the last bit.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.norm = norm
        self.scale = nn.Parameter(torch.ones_like(norm.weight))
        self.shift = nn.Parameter(torch.zeros_like(norm.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape of ``x``, (N, C, …)."""
        value: Tensor = functional_call(self.norm, self.affine(), x)
        return value

    def affine(self) -> dict[str, Tensor]:
        """Gamma and beta of the batch norm that computes the same alone."""
        return {"weight": self.norm.weight * self.scale, "bias": self.norm.bias * self.scale + self.shift}

    def merged(self) -> _BatchNorm:
        """That batch norm."""
        with torch.no_grad():
            for name, value in self.affine().items():
                self.norm.get_parameter(name).copy_(value)
        return self.norm


class Ssf(Method):
    """Scale and shift the output of every batch norm; the network itself is frozen.

    Source: Lian et al. 2022, "Scaling & shifting your features: a new baseline for efficient model tuning",
    arXiv 2210.08823. Per channel c, with the pretrained statistics and the pretrained gamma and beta

        y = s_c · (gamma_c · (x - mean_c) / sqrt(var_c + eps) + beta_c) + t_c,   s = 1 and t = 0 at first.

    The source puts them after every operation; here they stand after each batch norm, which directly follows each
    convolution of a ResNet. As s gamma and s beta + t are a gamma and a beta, the functions are those of
    ``bn_affine`` in other coordinates: a step changes them by another amount. ``merge`` folds s and t into the
    norm. They are not decayed: that would switch channels off; ``weight_decay`` is the head's.

    Trains: two scalars a channel of every batch norm (53,120 for ResNet-50) and the head.
    """

    name = "ssf"
    space: ClassVar[Space] = optimiser_space(Float(1e-3, 1e-4, 1e-1, log=True))

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and put s and t behind every batch norm.

        Raises:
            ValueError: the network has no batch norm with gamma and beta.
        """
        norms = _norms(model)
        if not norms:
            raise ValueError("ssf: this network has no batch norm with a scale and a shift; take a ResNet")
        model.backbone.requires_grad_(False)
        for name, norm in norms:
            model.backbone.set_submodule(name, ScaledNorm(norm).train(norm.training))

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """Scales and shifts without weight decay, the head with it."""
        own, head = super().param_groups(model, hp)
        own.weight_decay = 0.0
        return [own, head]

    def merge(self, model: Model) -> None:
        """Fold scales and shifts into the batch norms and make these plain again."""
        for name, module in list(model.backbone.named_modules()):
            if isinstance(module, ScaledNorm):
                model.backbone.set_submodule(name, module.merged())

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """Two scalars a channel."""
        return sum(2 * norm.num_features for _, norm in _norms(model))


def _norms(model: Model) -> list[tuple[str, _BatchNorm]]:
    return [
        (name, module)
        for name, module in model.backbone.named_modules()
        if isinstance(module, _BatchNorm) and isinstance(module.weight, nn.Parameter)
    ]
