"""LoRA-C: a low-rank update of each convolution's weight."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from harness.api import (
    Choice,
    ConvSite,
    Fixed,
    Float,
    Hyperparameters,
    Method,
    Model,
    Space,
    conv_sites,
    optimiser_space,
)

from ._low_rank import STAGES, ranked_targets


class LowRankUpdate(nn.Module):
    """Maps a frozen weight W0 (co, ci, kh, kw) to W0 + scale · view(B A), in training with rows of A dropped."""

    def __init__(self, weight: Tensor, inner_rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        channels_out, channels_in, height, width = weight.shape
        down = torch.empty(inner_rank, channels_in * width)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        self.A = nn.Parameter(down.to(weight))
        self.B = nn.Parameter(weight.new_zeros(channels_out * height, inner_rank))
        self.scale = scale
        self.dropout = dropout

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight, of the same shape."""
        return weight + self.scale * (self._kept() @ self.A).view(weight.shape)

    def branch(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Weights of two convolutions of which the second after the first is the update of one of one group.

        Their shapes are (kh r, ci, kh, kw) and (co, kh r, 1, 1), r being the rows of A. A row of BA, read as
        (co, ci, kh, kw), is a kh-th part of an output's weights, so the parts of A that belong to it are filters that
        are zero elsewhere.
        """
        rank, columns = self.A.shape
        parts = torch.eye(height, dtype=self.A.dtype, device=self.A.device)
        down = parts[:, None, :, None] * self.A[None, :, None, :]
        up = self.scale * self._kept().view(-1, height * rank, 1, 1)
        return down.reshape(height * rank, columns // width, height, width), up

    def _kept(self) -> Tensor:
        """B, in training with dropped columns, each of which stands for the row of A that it meets."""
        if not (self.training and self.dropout > 0):
            return self.B
        kept = torch.rand(self.B.shape[1], device=self.B.device) >= self.dropout
        return self.B * (kept / (1 - self.dropout)).to(self.B.dtype)


def _two_branches(self: Any, images: Tensor) -> Tensor:
    """What an adapted convolution computes, without the gradient of its whole weight where that costs more."""
    update = self.parametrizations.weight[0]
    if not (torch.is_grad_enabled() and images.device.type == "cpu" and _branch_is_cheaper(self, update.A.shape[0])):
        return self._conv_forward(images, self.weight, self.bias)  # type: ignore[no-any-return]
    down, up = update.branch(*self.kernel_size)
    plain: Tensor = self._conv_forward(images, self.parametrizations.weight.original, self.bias)
    return plain + nn.functional.conv2d(self._conv_forward(images, down, None), up)


def _branch_is_cheaper(convolution: nn.Conv2d, rank: int) -> bool:
    """Whether three passes through the branch take fewer multiplications than one gradient of the weight."""
    if convolution.groups != 1:
        return False
    height, width = convolution.kernel_size
    channels_out, area = convolution.out_channels, convolution.in_channels * height * width
    return 3 * height * rank * (area + channels_out) < channels_out * area


class LoraC(Method):
    """Add a trained low-rank matrix to the weight of each convolution; the pretrained weight stays frozen.

    Source: "LoRA-C: Parameter-efficient fine-tuning of robust CNN for IoT devices", arXiv 2410.16954v2. For a
    convolution with weight W0 in R^(co × ci × k × k)

        W = W0 + s · view(B A),   B = 0 and A ~ U(-1/sqrt(ci k), 1/sqrt(ci k)) at first,

    where ``view`` reads the (co k) × (ci k) product row by row as (co, ci, k, k), as the authors' code does.
    The two settings differ in the shapes:

    - ``setting`` 2 (the paper's for ResNet-50 and larger): A is r × (ci k), B is (co k) × r, together
      (ci + co) r k scalars.
    - ``setting`` 1 (the paper's for smaller networks): A is (r k) × (ci k), B is (co k) × (r k), together
      (ci + co) r k² scalars.

    ``scale`` is s, the paper's alpha / r, of which it finds 2 best. ``targets``: every convolution but the stem
    (``all``), of these the 3×3 ones (``3x3``), those that are not on a shortcut (``no_downsample``), those of one
    group (``dense``), or those of a stage as the network counts them (``stage1`` to ``stage4``, ``stage3-4``).
    ``weight_decay`` on A and B pulls W to W0. The smallest form for ResNet-50, 22,656 scalars or 0.096 % of it, is
    written in a sweep as ``lora_c_tiny: {method: lora_c, rank: 1, targets: 3x3}``.

    The paper has no convolution of several groups. Of one with g groups the same is done to the weight that it has,
    W0 in R^(co × ci/g × k × k):

        W = W0 + s · view(B A),   A: r × (ci/g k),   B: (co k) × r,   together (ci/g + co) r k scalars,

    which for g = 1 is the above, to the last bit. The groups have their A in common: the paper decomposes a layer as
    a whole and rejects a decomposition of each kernel, which for a depthwise convolution (g = ci = co) one of each
    group would be. There r is at most the largest with which A and B have fewer scalars than W0 (2 for a depthwise
    3×3, 4 for a 5×5), and a convolution of which not even rank 1 has fewer is left alone. ``targets`` ``dense``
    leaves all of them alone. A kernel of kh × kw has kw in the place of A's k and kh in that of B's.

    Unlike the paper's recipe, the stem is neither replaced nor trained (that was for images of 32 pixels),
    the head's bias trains, and batch norms keep their pretrained statistics. The paper has no dropout, no
    normalisation of its own and no adversarial training, and none is added here; ``rank_dropout``, off by
    default, is an extension: the probability with which a step leaves out a row of A, the rest being scaled up.

    Trains: A and B of each target (for ResNet-50 64,128 · r with setting 2) and the head.
    """

    name = "lora_c"
    space: ClassVar[Space] = {
        "rank": Choice(8, (1, 2, 4, 8, 16, 32), within="[1, 4096]"),
        "scale": Choice(2.0, (0.5, 1.0, 2.0, 4.0), within="(0, 1e4]"),
        "setting": Fixed(2, allowed=(1, 2)),
        "targets": Fixed("all", allowed=("all", "3x3", "no_downsample", "dense", *STAGES)),
        "rank_dropout": Fixed(0.0, within="[0, 1)"),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and add A and B to every target.

        Raises:
            NotDefinedError: no convolution is a target.
            ValueError: ``rank_dropout`` is no probability below 1.
        """
        dropout = float(hp["rank_dropout"])
        if not 0 <= dropout < 1:
            raise ValueError(f"lora_c: rank_dropout={dropout:g} must be at least 0 and below 1")
        sites = _targets(model, hp)
        model.backbone.requires_grad_(False)
        for site, inner_rank in sites:
            weight = site.module.weight
            update = LowRankUpdate(weight, inner_rank, float(hp["scale"]), dropout)
            parametrize.register_parametrization(site.module, "weight", update)
            # Others than torch's own pad images or standardise weights before they convolve.
            if type(site.module).forward is nn.Conv2d.forward:
                # The class is this module's own: torch makes one for each.
                setattr(type(site.module), "forward", _two_branches)  # noqa: B010  (mypy knows what it replaces)

    def merge(self, model: Model) -> None:
        """Replace each W0 by W and make the convolutions plain again; a second call finds nothing to do."""
        for site in conv_sites(model.backbone):
            convolution = site.module
            if not _is_adapted(convolution):
                continue
            convolution.get_submodule("parametrizations").eval()  # no row of A is dropped from what stays
            weight = convolution.weight.detach().clone()
            # torch's remove_parametrizations deletes the attribute from a class that deep copies share, so
            # merging a copy with it would break the original.
            del convolution.parametrizations
            convolution.__class__ = type(convolution).__bases__[0]
            convolution.weight = nn.Parameter(weight, requires_grad=False)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """(ci/g + co) r k for each target in setting 2 (equation 12 for g = 1), (ci/g + co) r k² in setting 1."""
        return sum(inner_rank * _row_and_column(site.module) for site, inner_rank in _targets(model, hp))


def _targets(model: Model, hp: Hyperparameters) -> list[tuple[ConvSite, int]]:
    """Every target with the rows of its A."""

    def rows(conv: nn.Conv2d) -> int:
        return conv.kernel_size[0] if hp["setting"] == 1 else 1

    found = ranked_targets(model, str(hp["targets"]), int(hp["rank"]), lambda conv: rows(conv) * _row_and_column(conv))
    return [(site, rank * rows(site.module)) for site, rank in found]


def _row_and_column(conv: nn.Conv2d) -> int:
    """Scalars of a row of A and of a column of B."""
    height, width = conv.kernel_size
    return conv.in_channels // conv.groups * width + conv.out_channels * height


def _is_adapted(convolution: nn.Conv2d) -> bool:
    return parametrize.is_parametrized(convolution, "weight") and any(
        isinstance(module, LowRankUpdate) for module in convolution.modules()
    )
