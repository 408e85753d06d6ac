"""GPAF: every activation gets a trained residual that is zero at first."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from harness.api import (
    SCALES,
    SITES,
    W3,
    W4,
    W5,
    ActivationSite,
    Base,
    Execution,
    Fixed,
    Float,
    Formula,
    H,
    Hyperparameters,
    M,
    Method,
    Model,
    NotDefinedError,
    Placed,
    PreservingActivation,
    Space,
    WithLaplacian,
    chosen_sites,
    mean_deviation,
    measure_scales,
    optimiser_space,
    place,
    scales_from_norms,
)

if TYPE_CHECKING:
    from harness.api import StepContext

_FORMULAS: dict[str, Formula] = {"w3": W3, "w4": W4, "w5": W5, "h": H, "m": M}


class Gpaf(Method):
    """Replace each activation by f(x) = base(x) + Δ(x), with the pretrained base and a trained Δ, zero at first.

    Source: this benchmark's own. Per channel c, with z = clip(x / s_c, -8, 8) and w = exp(-z² / 2), ``variant`` is

        w4:  Δ = q min(x, 0) + s w (a0 + a1 z + a2 |z|)
        w3:  w4 without a1;   w5:  w4 and p max(x, 0)
        h:   Δ = q min(x, 0) + sum over t in (-1, 0, 1) of v_t max(0, x - m_c - s_c t)
        m:   Δ = q min(x, 0) - l |x| σ(-exp(b) |x| / s)

    All start from 0, so the network computes the pretrained function bit for bit, and ``weight_decay`` pulls it
    back there. The base is any activation that torch has and that looks at one value at a time: ReLU, ReLU6, LeakyReLU,
    ELU, SELU, CELU, SiLU, GELU, Mish, Hardswish or Softplus, a module or a call, with its own arguments. Gates (the
    sigmoids of squeeze-and-excitation) stay as they are. Everything but the activations and the head is frozen.

    - ``sharing``: a set of coefficients for each ``channel``; for each of 8 ``group``s of neighbouring channels (of
      4, 2 or 1 where 8 do not divide them); for each ``site``; for the sites of one position in the blocks of one
      ``stage``; or one ``global`` set.
    - ``sites``: which activations; ``act1`` to ``act3`` are the first to third of each block, ``after_norm`` those
      directly behind a batch norm.
    - ``scale``: s_c (and m_c) is |gamma_c| (and beta_c) of a batch norm directly before, and the standard deviation
      (and mean) over up to 50 training batches elsewhere (``norm``); the latter everywhere (``measured``); or
      ``one``. At least 0.05 of the site's median; frozen, and kept in the checkpoint.
    - ``laplacian`` adds kappa_c times the five-point Laplacian of x, kappa = 0 at first.
    - ``penalty`` adds that times the mean over channels of E[(Δ / s)²] under x ~ N(0, s²) to the loss.
    - ``execution``: how it is computed: ``plain``, ``fused``, ``compiled`` (torch.compile; the fastest on a CPU, after
      some 20 s in each process), ``triton`` (CUDA); ``auto`` is ``triton`` where that can be, else ``fused``.

    Not merged for inference: Δ is no linear map.

    Trains: 3 (w3, m), 4 (w4, h) or 5 (w5) scalars a channel (w4 on a ResNet-50: 90,880), and the head.
    """

    name = "gpaf"
    space: ClassVar[Space] = {
        "variant": Fixed("w4", allowed=tuple(_FORMULAS)),
        "sharing": Fixed("channel", allowed=("channel", "group", "site", "stage", "global")),
        "sites": Fixed("all", allowed=SITES),
        "scale": Fixed("norm", allowed=SCALES),
        "laplacian": Fixed(False),
        "penalty": Fixed(0.0, within="[0, 1e6]"),
        "execution": Fixed("auto", allowed=("auto", "plain", "fused", "compiled", "triton")),
        **optimiser_space(Float(1e-2, 1e-3, 1e-1, log=True)),
    }

    capturable = True

    def __init__(self) -> None:
        self._placed: list[Placed] = []
        self._scale = "norm"
        self._penalty = 0.0

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and put a trained activation in the place of each chosen one.

        Raises:
            NotDefinedError: the network does not tell its activations apart, has none of the chosen ones, or none of
                images where ``laplacian`` needs them.
            ValueError: a negative penalty.
        """
        self._scale, self._penalty = str(hp["scale"]), float(hp["penalty"])
        if self._penalty < 0:
            raise ValueError(f"gpaf: penalty must not be negative, got {self._penalty}")
        sites = chosen_sites(model, str(hp["sites"]))
        model.backbone.requires_grad_(False)
        shared: dict[object, PreservingActivation] = {}
        kappas: dict[object, nn.Parameter] = {}
        self._placed = []
        for site in sites:
            key, groups = _sharing(site, str(hp["sharing"]))
            first = shared.get(key)
            activation = PreservingActivation(
                _FORMULAS[str(hp["variant"])],
                site.channels,
                base=Base.of(site.module, site.channel_dim),
                groups=groups,
                execution=_execution(hp),
                coefficients=None if first is None else first.coefficients,
            )
            shared.setdefault(key, activation)
            whole: nn.Module = activation
            if hp["laplacian"]:
                if len(site.spatial) != 2:
                    raise NotDefinedError(f"laplacian looks at the pixels of an image, and {site.name} has none")
                whole = WithLaplacian(activation, site.channels, groups, kappas.get(key))
                kappas.setdefault(key, whole.kappa)
            place(model, site, whole)
            self._placed.append(Placed(site, activation))
        if self._scale == "norm":
            scales_from_norms(self._placed)

    def prepare(self, model: Model, batches: Iterator[Tensor]) -> None:
        """Measure the scales that no batch norm tells."""
        measure_scales(model, self._placed, batches, self._scale)

    def training_step(self, context: StepContext, images: Tensor, labels: Tensor) -> Tensor:
        """One step on the loss and the penalty; the loss that is returned is without it."""
        loss = context.loss(images, labels)
        found = [module for module in context.model.modules() if isinstance(module, PreservingActivation)]
        context.backward_and_step(loss + self._penalty * mean_deviation(found) if self._penalty else loss)
        return loss.detach()

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """Coefficients of Δ (and kappa) times the channels, groups, sites, stage positions, or 1."""
        sites = chosen_sites(copy.deepcopy(model), str(hp["sites"]))
        sets = dict(_sharing(site, str(hp["sharing"])) for site in sites)
        each = len(_FORMULAS[str(hp["variant"])].names) + bool(hp["laplacian"])
        return each * sum(sets.values())


def _sharing(site: ActivationSite, sharing: str) -> tuple[object, int]:
    """What sites with common coefficients have in common, and the number of sets of coefficients."""
    if sharing == "global":
        return None, 1
    if sharing == "stage":
        return (site.stage, site.position), 1
    return site.name, {"channel": site.channels, "group": math.gcd(8, site.channels), "site": 1}[sharing]


def _execution(hp: Hyperparameters) -> Execution:
    executions: dict[str, Execution] = {
        "auto": "auto",
        "plain": "plain",
        "fused": "fused",
        "compiled": "compiled",
        "triton": "triton",
    }
    return executions[str(hp["execution"])]
