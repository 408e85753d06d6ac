"""BN-affine: only the scales and shifts of the normalisation layers train."""

from __future__ import annotations

from typing import ClassVar

from harness.api import (
    Float,
    Hyperparameters,
    Method,
    Model,
    NotDefinedError,
    ParamGroup,
    Space,
    norm_sites,
    optimiser_space,
)


class BnAffine(Method):
    """Train gamma and beta of every norm, with its statistics frozen.

    Source: Frankle et al. 2021, "Training BatchNorm and only BatchNorm", here from pretrained weights. Per
    channel c

        y = gamma_c · (x - mean_c) / sqrt(var_c + eps) + beta_c

    with the pretrained running mean and variance; gamma and beta start at their pretrained values. Group and layer
    norms (ConvNeXt) have gamma and beta too, and take mean and variance from the image. Scaling
    and shifting after each norm (SSF) is the same family of functions. Gamma and beta are not decayed: that
    would pull them to 0 and not to the pretrained function; ``weight_decay`` is the head's.

    Trains: two scalars a channel of every norm (53,120 for ResNet-50) and the head.
    """

    name = "bn_affine"
    space: ClassVar[Space] = optimiser_space(Float(1e-3, 1e-4, 1e-1, log=True))

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Let the norms' affine parameters train.

        Raises:
            NotDefinedError: the network has no norm with affine parameters.
        """
        sites = norm_sites(model.backbone)
        if not sites:
            raise NotDefinedError("this network has no norm with a scale and a shift")
        model.backbone.requires_grad_(False)
        for site in sites:
            site.module.requires_grad_(True)

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """Gamma and beta without weight decay, the head with it."""
        affine, head = super().param_groups(model, hp)
        affine.weight_decay = 0.0
        return [affine, head]

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """Two scalars a channel of a norm."""
        return sum(p.numel() for site in norm_sites(model.backbone) for p in site.module.parameters())
