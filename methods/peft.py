"""PEFT: the adapters for convolutions of Hugging Face's library, by that library."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from harness.api import (
    Choice,
    ConvSite,
    Fixed,
    Float,
    Hyperparameters,
    Method,
    Model,
    NotDefinedError,
    ParamGroup,
    RequestError,
    Space,
    install,
    optimiser_space,
)

from ._low_rank import STAGES, wanted_sites

_NOT_DECAYED = (".lora_magnitude_vector.", ".ia3_l.")
"""What would switch filters off if it were pulled to 0."""


@dataclass(frozen=True)
class _Kind:
    """One of the library's adapters."""

    config: Callable[[Any, str, int, float], Any]
    """(the library, regular expression of targets, rank, scale) → its configuration of the adapter."""
    count: Callable[[nn.Conv2d, int], int]
    """(convolution, rank) → trained scalars."""
    grouped: bool
    """Whether the library acts on convolutions of several groups, and merges them."""


def _low_rank(conv: nn.Conv2d, rank: int) -> int:
    return rank * (conv.weight[0].numel() + conv.out_channels)


def _kronecker(conv: nn.Conv2d, rank: int) -> int:
    """co = a b and ci = c d as near to squares as can be: a × c, and b × d kernels or a product of rank r of them."""
    (a, b), (c, d) = _factors(conv.out_channels), _factors(conv.in_channels // conv.groups)
    pixels = math.prod(conv.kernel_size)
    return a * c + (b * d * pixels if rank >= max(b, d) / 2 else rank * (b + d * pixels))


def _factors(number: int) -> tuple[int, int]:
    small = next(size for size in range(math.isqrt(number), 0, -1) if number % size == 0)
    return small, number // small


_KINDS: Mapping[str, _Kind] = {
    "lora": _Kind(lambda lib, on, r, s: lib.LoraConfig(target_modules=on, r=r, lora_alpha=s * r), _low_rank, False),
    "dora": _Kind(
        lambda lib, on, r, s: lib.LoraConfig(target_modules=on, r=r, lora_alpha=s * r, use_dora=True),
        lambda conv, rank: _low_rank(conv, rank) + conv.out_channels,
        False,
    ),
    "loha": _Kind(
        lambda lib, on, r, s: lib.LoHaConfig(target_modules=on, r=r, alpha=s * r),
        lambda conv, rank: 2 * _low_rank(conv, rank),
        True,
    ),
    "lokr": _Kind(lambda lib, on, r, s: lib.LoKrConfig(target_modules=on, r=r, alpha=s * r), _kronecker, True),
    "hira": _Kind(lambda lib, on, r, s: lib.HiraConfig(target_modules=on, r=r), _low_rank, False),
    "ia3": _Kind(
        lambda lib, on, r, s: lib.IA3Config(target_modules=on, feedforward_modules=[]),
        lambda conv, rank: conv.out_channels,
        True,
    ),
}


class Peft(Method):
    """Put one of the PEFT library's adapters (LoRA, DoRA, LoHa, LoKr, HiRA, IA³) beside each frozen convolution.

    Source: the library itself, https://github.com/huggingface/peft, which computes everything here; it is needed (the
    extra ``peft``). For a convolution with W0 in R^(c_o × c_i × k × k), seen as a c_o × (c_i k²) matrix, and s the
    ``scale`` (the library's alpha / r), ``type`` is

        lora:  W = W0 + s B A                        Hu et al. 2022, arXiv 2106.09685
        dora:  W = m · V / ‖V‖,  V = W0 + s B A      Liu et al. 2024, arXiv 2402.09353
        loha:  W = W0 + s (B1 A1) ∘ (B2 A2)          Hyeon-Woo et al. 2022, arXiv 2108.06098
        lokr:  W = W0 + s C ⊗ D                      Edalati et al. 2022, arXiv 2212.10650
        hira:  W = W0 + W0 ∘ (B A)                   Huang et al. 2025, "HiRA: parameter-efficient Hadamard
                                                     high-rank adaptation for large language models"
        ia3:   y = l · (W0 * x + b)                  Liu et al. 2022, arXiv 2205.05638

    with B: c_o × r, A: r × (c_i k²), m and l of c_o numbers. In lokr c_o = a b and c_i = c d, as near to squares as can
    be, C is a × c, and D is b × d kernels, or where r < max(b, d) / 2 a product of a b × r and an r × (d k²) matrix.
    Initial values are the library's: each starts as the pretrained network. ``hira`` and ``ia3`` have no scale, ``ia3``
    no rank.

    It acts on the ``targets`` of ``lora_c`` of which the library computes the same before and after merging: not on
    convolutions of several groups with ``lora``, ``dora`` and ``hira``; in no case on those that pad otherwise than
    with zeros or are dilated; and of several groups only where the adapter has fewer scalars than W0. ``conv_lora``
    and ``dora`` are the harness's own forms of the first two, which act on several groups as well and need no library.
    ``weight_decay`` pulls W to W0, except for m and l, which are not decayed: that would switch filters off.

    Trains: for ResNet-50 with rank r: lora and hira 79,232 · r, dora 26,496 more, loha 158,464 · r, ia3 26,496, lokr
    62,208 of rank 8; and the head.
    """

    name = "peft"
    space: ClassVar[Space] = {
        "type": Fixed("lora", allowed=tuple(_KINDS)),
        "rank": Choice(
            8, (1, 2, 4, 8, 16, 32), when={"type": [kind for kind in _KINDS if kind != "ia3"]}, within="[1, 4096]"
        ),
        "scale": Choice(2.0, (0.5, 1.0, 2.0, 4.0), when={"type": ("lora", "dora", "loha", "lokr")}, within="(0, 1e4]"),
        "targets": Fixed("all", allowed=("all", "3x3", "no_downsample", "dense", *STAGES)),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and let the library put its adapters into it.

        Raises:
            NotDefinedError: the network has no target.
            RequestError: the library is not installed.
            ValueError: the rank is below 1.
        """
        if int(hp["rank"]) < 1:
            raise ValueError(f"peft: rank={hp['rank']} must be at least 1")
        sites = _targets(model, hp)
        library = _library()
        model.backbone.requires_grad_(False)
        names = "|".join(re.escape(site.name) for site in sites)
        config = _KINDS[str(hp["type"])].config(library, names, int(hp["rank"]), float(hp["scale"]))
        library.inject_adapter_in_model(config, model.backbone)
        for _, layer in _adapted(model):
            layer.train(layer.get_base_layer().training)
            for lengths in getattr(layer, "lora_magnitude_vector", {}).values():
                # The library's own way takes a view of A, which fails where weights lie channels last.
                lengths.get_lora_weight = _product

    def prepare(self, model: Model, batches: Iterator[Tensor]) -> None:
        """Measure the lengths of ``dora`` again where the network trains: another device may round them otherwise."""
        with torch.no_grad():
            for _, layer in _adapted(model):
                weight = layer.get_base_layer().weight
                for lengths in getattr(layer, "lora_magnitude_vector", {}).values():
                    lengths.weight.copy_(lengths.get_weight_norm(weight, torch.zeros_like(weight), scaling=1.0))

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """The adapters, of which lengths and factors are not decayed, and the head."""
        own, head = super().param_groups(model, hp)
        still = {
            id(p) for name, p in model.backbone.named_parameters() if any(part in f".{name}" for part in _NOT_DECAYED)
        }
        groups = [
            ParamGroup("backbone", [p for p in own.params if id(p) not in still], own.lr, own.weight_decay),
            ParamGroup("lengths", [p for p in own.params if id(p) in still], own.lr, 0.0),
        ]
        return [*(group for group in groups if group.params), head]

    def merge(self, model: Model) -> None:
        """Let the library fold its adapters into the convolutions, and keep these alone."""
        for name, layer in list(_adapted(model)):
            layer.merge()
            model.backbone.set_submodule(name, layer.get_base_layer())

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """The formula of the type, summed over the targets."""
        kind = _KINDS[str(hp["type"])]
        return sum(kind.count(site.module, int(hp["rank"])) for site in _targets(model, hp))


def _targets(model: Model, hp: Hyperparameters) -> list[ConvSite]:
    kind, rank = _KINDS[str(hp["type"])], int(hp["rank"])

    def fits(conv: nn.Conv2d) -> bool:
        plain = type(conv).forward is nn.Conv2d.forward and conv.padding_mode == "zeros" and conv.dilation == (1, 1)
        small = kind.grouped and kind.count(conv, rank) < conv.weight.numel()
        return plain and (conv.groups == 1 or small)

    sites = [site for site in wanted_sites(model, str(hp["targets"])) if fits(site.module)]
    if not sites:
        raise NotDefinedError(f"this network has no convolution for type={hp['type']} and targets={hp['targets']}")
    return sites


def _product(lora_A: nn.Conv2d, lora_B: nn.Conv2d, adapter_name: str | None = None) -> Tensor:
    """B A, (c_o, c_i k²), for the library's module of ``dora``, whose names of arguments these are."""
    return lora_B.weight.flatten(1) @ lora_A.weight.flatten(1)


def _library() -> Any:
    try:
        import peft
    except ImportError as error:
        raise RequestError(f"method peft needs the library of that name; {install('peft')}") from error
    return peft


def _adapted(model: Model) -> Iterator[tuple[str, Any]]:
    """Path and module of each adapter that the library has put into the backbone."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return ((name, module) for name, module in model.backbone.named_modules() if isinstance(module, BaseTunerLayer))
