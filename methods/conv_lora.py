"""Conv-LoRA: a low-rank branch beside each convolution, as the PEFT library and LoCon have it."""

from __future__ import annotations

from typing import ClassVar

from harness.api import Choice, Fixed, Float, Hyperparameters, Method, Model, Space, optimiser_space

from ._branch import LowRank, add_branch, merge_branches
from ._low_rank import targets


class ConvLora(Method):
    """Add a k×k convolution to r channels, followed by a 1×1 one, to each frozen convolution.

    Source: Hu et al. 2022, "LoRA: low-rank adaptation of large language models", arXiv 2106.09685, in the form that
    the PEFT library gives it for convolutions (LoCon: Yeh et al. 2024, "Navigating text-to-image customization",
    arXiv 2309.14859). For a convolution of kernel k with c_i inputs and c_o outputs

        y = W0 * x + s · up(down(x)),   down: k×k, c_i → r, with the stride of W0;   up: 1×1, r → c_o.

    down ~ U(-1/sqrt(c_i k²), 1/sqrt(c_i k²)) and up = 0 at first. ``scale`` is s, alpha / r in the source. It acts
    on every convolution but the stem, or on those of more than one pixel (``targets`` ``3x3``). In contrast to
    ``lora_c`` the rank is that of the c_o × (c_i k²) matrix, and a unit of it costs more. This is the harness's own
    code: the PEFT library is not needed. ``weight_decay`` pulls the branch to 0. It is computed, and merged, as an
    addition to W0, where the library runs two more convolutions.

    Trains: r (c_i k² + c_o) scalars a convolution (for ResNet-50 79,232 · r) and the head.
    """

    name = "conv_lora"
    space: ClassVar[Space] = {
        "rank": Choice(8, (1, 2, 4, 8, 16, 32), within="[1, 4096]"),
        "scale": Choice(2.0, (0.5, 1.0, 2.0, 4.0), within="(0, 1e4]"),
        "targets": Fixed("all", allowed=("all", "3x3", "no_downsample")),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and add a branch to every target.

        Raises:
            ValueError: the network has no target or a grouped one, or the rank is below 1.
        """
        rank = int(hp["rank"])
        if rank < 1:
            raise ValueError(f"conv_lora: rank={rank} must be at least 1")
        sites = targets("conv_lora", model, str(hp["targets"]))
        for site in sites:
            if site.module.groups != 1:
                raise ValueError(f"conv_lora: {site.name} is a grouped convolution; take a network without them")
        model.backbone.requires_grad_(False)
        for site in sites:
            add_branch(model, site.name, LowRank(site.module, rank, float(hp["scale"])))

    def merge(self, model: Model) -> None:
        """Fold every branch into the kernel beside it."""
        merge_branches(model)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """r (c_i k² + c_o) for each target."""
        convs = [site.module for site in targets("conv_lora", model, str(hp["targets"]))]
        return sum(
            int(hp["rank"]) * (conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1] + conv.out_channels)
            for conv in convs
        )
