"""Activation: every activation is replaced by a published one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

from harness.api import (
    ACTIVATIONS,
    SCALES,
    SITES,
    ActivationSite,
    Base,
    Fixed,
    Float,
    Hyperparameters,
    Method,
    Model,
    NotDefinedError,
    Placed,
    Space,
    build_activation,
    chosen_sites,
    measure_scales,
    optimiser_space,
    place,
    scales_from_norms,
)


class Activation(Method):
    """Swap every activation for another and train its coefficients, with the rest of the backbone frozen.

    For the ablation of GPAF. Whatever the network has there (ReLU, Hardswish, GELU, …) is replaced. ``kind`` is one
    of those that ``harness/activations/family.py`` lists, where each has its source, its equation and its initial
    values. In place of a ReLU, ``relu``, ``prelu0``, ``ssf_after_relu``, ``srelu``, ``apl``, ``pwlu``, ``dy_relu_a``,
    ``dy_relu_b`` and ``frelu`` start as the pretrained function, the others change it before the first step.

    The residuals are other learned forms in GPAF's own place: f(x) = base(x) + Δ(x) with any base that ``gpaf`` takes,
    and Δ = 0 at first, so that they start as every pretrained network, bit for bit. With z = x / s and coefficients per
    channel,

        prelu_residual:   Δ = q min(x, 0), a PReLU                                              1 coefficient
        swish_residual:   Δ = q min(x, 0) - l |x| σ(-exp(b) |x| / s): a ReLU becomes Swish of
                          trained β with l = 1 (the form ``m`` of ``gpaf``)                     3
        pau_residual_4:   Δ = s (a0 + a1 z + a2 z²) / (1 + |b1 z|), a Padé activation unit,
                          b1 = 1 at first                                                       4
        pau_residual:     the same of degrees 5 and 4, those of its authors                    10
        kan_residual_4:   Δ = s Σ c_i B_i(z), cubic B-splines of a Kolmogorov-Arnold network    4
        kan_residual:     the same with 8 splines, on a grid of five intervals                  8

    Those that end in ``_4`` have as many coefficients as ``gpaf`` in its usual form ``w4``, ``prelu_residual`` as many
    as ``prelu0``. Beyond 8 scales from 0 the Δ of a Padé unit stays as it is, beyond 4 that of splines is 0.

    - ``sites`` and ``scale``: as for ``gpaf``; the scale is the unit of coefficients where the kind has one.
    - ``beta``: the β from which ``t_ct`` (Curvature Tuning, trained) starts, or at which ``s_ct`` (not trained)
      stays, in (0, 1).

    Trains: the kind's coefficients (none for fixed functions) and the head.
    """

    name = "activation"
    preserves_function = False
    space: ClassVar[Space] = {
        "kind": Fixed("prelu0", allowed=tuple(ACTIVATIONS)),
        "sites": Fixed("all", allowed=SITES),
        "scale": Fixed("norm", allowed=SCALES),
        "beta": Fixed(0.8, within="(0, 1)"),
        **optimiser_space(Float(1e-2, 1e-3, 1e-1, log=True)),
    }

    def __init__(self) -> None:
        self._placed: list[Placed] = []
        self._scale = "norm"

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and replace the chosen activations.

        Raises:
            NotDefinedError: the network does not tell its activations apart, has none of the chosen ones, or one of
                them is not of images where ``kind`` looks at pixels.
            ValueError: β outside of (0, 1).
        """
        kind, self._scale = str(hp["kind"]), str(hp["scale"])
        sites = self.replaced(model, hp)
        model.backbone.requires_grad_(False)
        beta = float(hp["beta"]) if kind in ("t_ct", "s_ct") else None
        self._placed = [Placed(site, _built(kind, site, beta)) for site in sites]
        for placed in self._placed:
            place(model, placed.site, placed.activation)
        if self._scale == "norm":
            scales_from_norms(self._placed)

    def prepare(self, model: Model, batches: Iterator[Tensor]) -> None:
        """Measure the scales that no batch norm tells, where the kind has one."""
        measure_scales(model, self._placed, batches, self._scale)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """The kind's formula, summed over the chosen sites."""
        sites = self.replaced(copy.deepcopy(model), hp)
        return sum(ACTIVATIONS[str(hp["kind"])].count(site.channels) for site in sites)

    def replaced(self, model: Model, hp: Hyperparameters) -> list[ActivationSite]:
        """The activations that are replaced, each made a module of its own; errors as for ``adapt``."""
        sites, kind = chosen_sites(model, str(hp["sites"])), str(hp["kind"])
        if ACTIVATIONS[kind].of_images:
            for site in sites:
                if len(site.spatial) != 2:
                    raise NotDefinedError(f"{kind} looks at the pixels of an image, and {site.name} has none")
        return sites


def _built(kind: str, site: ActivationSite, beta: float | None) -> nn.Module:
    return build_activation(kind, site.channels, beta=beta, base=Base.of(site.module, site.channel_dim))
