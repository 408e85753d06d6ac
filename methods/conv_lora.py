"""Conv-LoRA: a low-rank branch beside each convolution, as the PEFT library and LoCon have it."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from harness.api import Choice, ConvSite, Fixed, Float, Hyperparameters, Method, Model, Space, optimiser_space

from ._branch import LowRank, add_branch, merge_branches
from ._low_rank import ranked_targets


class ConvLora(Method):
    """Add a k×k convolution to r channels, followed by a 1×1 one, to each frozen convolution.

    Source: Hu et al. 2022, "LoRA: low-rank adaptation of large language models", arXiv 2106.09685, in the form that
    the PEFT library gives it for convolutions (LoCon: Yeh et al. 2024, "Navigating text-to-image customization",
    arXiv 2309.14859). For a convolution of kernel k with c_i inputs and c_o outputs

        y = W0 * x + s · up(down(x)),   down: k×k, c_i → r, with the stride of W0;   up: 1×1, r → c_o.

    down ~ U(-1/sqrt(c_i k²), 1/sqrt(c_i k²)) and up = 0 at first. ``scale`` is s, alpha / r in the source. It acts
    on every convolution but the stem (``all``), of these on the 3×3 ones (``3x3``), those that are not on a shortcut
    (``no_downsample``), or those of one group (``dense``). In contrast to
    ``lora_c`` the rank is that of the c_o × (c_i k²) matrix, and a unit of it costs more. This is the harness's own
    code: the PEFT library is not needed. ``weight_decay`` pulls the branch to 0. It is computed, and merged, as an
    addition to W0, where the library runs two more convolutions.

    Of a convolution with g groups every group gets the same ``down`` from its own c_i / g inputs, so that the update
    is again one of rank r, of the c_o × (c_i/g k²) matrix that W0 is there; for g = 1 it is the above. The library
    divides r among the groups instead, which needs a rank for each. A depthwise kernel so becomes W0 and a mixture of
    r kernels that all channels share. There r is at most the largest with which the update has fewer scalars than W0,
    and a convolution of which not even rank 1 has fewer is left alone.

    Trains: r (c_i/g k² + c_o) scalars a convolution (for ResNet-50 79,232 · r) and the head.
    """

    name = "conv_lora"
    space: ClassVar[Space] = {
        "rank": Choice(8, (1, 2, 4, 8, 16, 32), within="[1, 4096]"),
        "scale": Choice(2.0, (0.5, 1.0, 2.0, 4.0), within="(0, 1e4]"),
        "targets": Fixed("all", allowed=("all", "3x3", "no_downsample", "dense")),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and add a branch to every target.

        Raises:
            NotDefinedError: the network has no target.
            ValueError: the rank is below 1.
        """
        if int(hp["rank"]) < 1:
            raise ValueError(f"conv_lora: rank={hp['rank']} must be at least 1")
        sites = _targets(model, hp)
        model.backbone.requires_grad_(False)
        for site, rank in sites:
            add_branch(model, site.name, LowRank(site.module, rank, float(hp["scale"])))

    def merge(self, model: Model) -> None:
        """Fold every branch into the kernel beside it."""
        merge_branches(model)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """r (c_i/g k² + c_o) for each target."""
        return sum(rank * _cost(site.module) for site, rank in _targets(model, hp))


def _targets(model: Model, hp: Hyperparameters) -> list[tuple[ConvSite, int]]:
    return ranked_targets(model, str(hp["targets"]), int(hp["rank"]), _cost)


def _cost(conv: nn.Conv2d) -> int:
    """Scalars of a branch of rank 1."""
    return conv.weight[0].numel() + conv.out_channels
