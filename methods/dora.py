"""DoRA for convolutions: a low-rank update of the direction of each filter, and a trained length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

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
    ParamGroup,
    Space,
    optimiser_space,
)

from ._branch import ConvWithBranch, LowRank, add_branch, merge_branches
from ._low_rank import ranked_targets


class Magnitude(LowRank):
    """A low-rank branch after which each filter of the sum is brought to a trained length."""

    def __init__(self, beside: nn.Conv2d, rank: int, scale: float) -> None:
        super().__init__(beside, rank, scale)
        self.magnitude = nn.Parameter(_lengths(beside.weight.detach()))

    def applied_to(self, weight: Tensor) -> Tensor:
        """m · (W0 + kernel) / ‖W0 + kernel‖; filters of length 0 stay as they are."""
        moved = super().applied_to(weight)
        lengths, one = _lengths(moved.detach()), moved.new_ones(())
        # Divided by 1 before it is left out: the gradient of what is left out must be a number too.
        factor = torch.where(lengths > 0, self.magnitude / torch.where(lengths > 0, lengths, one), one)
        return moved * factor.view(-1, 1, 1, 1)


def _lengths(weight: Tensor) -> Tensor:
    """The Euclidean norm of each filter, (co,)."""
    lengths: Tensor = torch.linalg.vector_norm(weight.flatten(1), dim=1)
    return lengths


class Dora(Method):
    """Add a low-rank update to each convolution, and train the length of each of its filters apart from the direction.

    Source: Liu et al. 2024, "DoRA: weight-decomposed low-rank adaptation", ICML 2024, arXiv 2402.09353, in the form
    that the PEFT library gives it for convolutions. With the update BA of ``conv_lora``, for output channel o

        W_o = m_o · V_o / ‖V_o‖,   V = W0 + s · BA,   m_o = ‖W0_o‖ at first,

    where the norm is over all inputs and pixels of the filter. As in section 4.3 of the source, ‖V_o‖ is a constant in
    the backward pass: it follows V, and no gradient goes through it. A is as torch draws the weights of its layers and
    B = 0 at first, so that the network starts as pretrained, bit for bit. A filter of length 0 stays as it is.

    ``rank``, ``scale`` and ``targets`` are those of ``conv_lora``, and so is what BA is for a convolution of several
    groups; there r is at most the largest with which BA and m have fewer scalars than W0. The library computes the same
    with three more operations, and has another form for several groups, which it does not merge. ``weight_decay`` acts
    on A and B alone, where the library decays m too: that would switch filters off.

    Trains: r (c_i/g k² + c_o) + c_o scalars a convolution (for ResNet-50 79,232 · r + 26,496) and the head.
    """

    name = "dora"
    space: ClassVar[Space] = {
        "rank": Choice(8, (1, 2, 4, 8, 16, 32), within="[1, 4096]"),
        "scale": Choice(2.0, (0.5, 1.0, 2.0, 4.0), within="(0, 1e4]"),
        "targets": Fixed("all", allowed=("all", "3x3", "no_downsample", "dense")),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and add a branch and lengths to every target.

        Raises:
            NotDefinedError: the network has no target.
            ValueError: the rank is below 1.
        """
        if int(hp["rank"]) < 1:
            raise ValueError(f"dora: rank={hp['rank']} must be at least 1")
        sites = _targets(model, hp)
        model.backbone.requires_grad_(False)
        for site, rank in sites:
            add_branch(model, site.name, Magnitude(site.module, rank, float(hp["scale"])))

    def prepare(self, model: Model, batches: Iterator[Tensor]) -> None:
        """Measure the lengths again where the network trains: another device may round them otherwise."""
        with torch.no_grad():
            for module in model.backbone.modules():
                if isinstance(module, ConvWithBranch) and isinstance(module.branch, Magnitude):
                    module.branch.magnitude.copy_(_lengths(module.conv.weight))

    def param_groups(self, model: Model, hp: Hyperparameters) -> list[ParamGroup]:
        """The lengths without weight decay, everything else with it."""
        own, head = super().param_groups(model, hp)
        lengths = {id(p) for name, p in model.backbone.named_parameters() if name.endswith(".magnitude")}
        factors = [p for p in own.params if id(p) not in lengths]
        return [
            ParamGroup("backbone", factors, own.lr, own.weight_decay),
            ParamGroup("lengths", [p for p in own.params if id(p) in lengths], own.lr, 0.0),
            head,
        ]

    def merge(self, model: Model) -> None:
        """Replace each W0 by W."""
        merge_branches(model)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """r (c_i/g k² + c_o) + c_o for each target."""
        return sum(rank * _cost(site.module) + site.module.out_channels for site, rank in _targets(model, hp))


def _targets(model: Model, hp: Hyperparameters) -> list[tuple[ConvSite, int]]:
    return ranked_targets(model, str(hp["targets"]), int(hp["rank"]), _cost, lambda conv: conv.out_channels)


def _cost(conv: nn.Conv2d) -> int:
    """Scalars of BA of rank 1."""
    return conv.weight[0].numel() + conv.out_channels
