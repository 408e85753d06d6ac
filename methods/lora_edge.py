"""LoRA-Edge: the output side of a tensor train of each kernel, trained from zero beside the frozen kernel."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.api import Choice, ConvSite, Fixed, Float, Hyperparameters, Method, Model, Space, optimiser_space

from ._branch import LinearBranch, add_branch, merge_branches
from ._low_rank import STAGES, ranked_targets


class OutputCore(LinearBranch):
    """core · rest: the trained first core of a kernel's tensor train, 0 at first, before the frozen others."""

    rest: Tensor

    def __init__(self, beside: nn.Conv2d, rank: int) -> None:
        super().__init__()
        # A buffer, so that a checkpoint brings it along: another machine's decomposition may have other signs.
        self.register_buffer("rest", tensor_train_rest(beside.weight.detach(), rank))
        self.core = nn.Parameter(torch.zeros(beside.out_channels, len(self.rest)))

    def kernel(self) -> Tensor:
        """The update, of the shape of the convolution's kernel."""
        return (self.core @ self.rest.flatten(1)).view(-1, *self.rest.shape[1:])


def tensor_train_rest(weight: Tensor, rank: int) -> Tensor:
    """All cores but the first of the tensor train of a kernel, multiplied out.

    Oseledets 2011, "Tensor-train decomposition", algorithm 1: axes are split off from the left by singular value
    decompositions, each cut at ``rank``, whose singular values go to the right. In float64.

    Args:
        weight: (co, ci, kh, kw).
        rank: the largest rank of the train, at least 1.

    Returns:
        (r, ci, kh, kw) in the dtype of ``weight``, r = min(rank, co, ci kh kw).
    """
    _, right = _split(weight.double().flatten(1), rank)
    return _train(right.view(-1, *weight.shape[1:]), rank).to(weight.dtype)


def _train(tensor: Tensor, rank: int) -> Tensor:
    """The product of the tensor train of (r, n1, …, nk), of the same shape."""
    if tensor.dim() == 2:
        return tensor
    left, right = _split(tensor.flatten(0, 1).flatten(1), rank)
    rest = _train(right.view(-1, *tensor.shape[2:]), rank)
    return torch.einsum("anb,b...->an...", left.view(*tensor.shape[:2], -1), rest)


def _split(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The closest product of two matrices of ``rank``, the first with orthonormal columns.

    By the eigenvectors of the smaller of both products with the transpose: a sixth of the time of an SVD.
    """
    rows, columns = matrix.shape
    if rows <= columns:
        left = torch.linalg.eigh(matrix @ matrix.T).eigenvectors[:, -rank:].flip(1)
        return left, left.T @ matrix
    right = torch.linalg.eigh(matrix.T @ matrix).eigenvectors[:, -rank:].flip(1)
    left, middle = torch.linalg.qr(matrix @ right)
    return left, middle @ right.T


class LoraEdge(Method):
    """Decompose each kernel into a tensor train, and train the core at its outputs, from zero, beside the kernel.

    Source: Kwak et al. 2026, "LoRA-Edge: tensor-train-assisted LoRA for practical CNN fine-tuning on edge devices",
    DATE 2026, arXiv 2511.03765. A kernel W0 in R^(c_o × c_i × k × k) is, by TT-SVD with every rank cut at r,

        W0 ≈ G1 · G2 · G3 · G4,   G1: c_o × r,   G2: r × c_i × r,   G3: r × k × r,   G4: r × k,

    and the convolution becomes

        W = W0 + G · (G2 · G3 · G4),   G = 0 at first,

    where only G, the core on the side of the outputs, trains. After training W is one kernel. In contrast to
    ``conv_lora`` the way into the r channels is not random but the kernel's own: its r strongest directions, with their
    singular values.

    Of the paper its abstract was available and of its equations an implementation by others, as a baseline for their
    own method. Both say what is above; that one r cuts all ranks is from the latter alone. ``weight_decay`` pulls W
    to W0. The stem is left alone, as by every low-rank method here; ``targets`` are those of ``lora_c``.

    Of a convolution with g groups the same is done to the kernel that it has, of c_i/g inputs: the groups share G2 to
    G4. There r is at most the largest with which G has fewer scalars than W0 (k² - 1 for a depthwise one), and a
    convolution of which not even rank 1 has is left alone.

    Trains: c_o r scalars a convolution, r being at most c_o and c_i/g k² (for ResNet-50 26,496 · r), and the head.
    """

    name = "lora_edge"
    space: ClassVar[Space] = {
        "rank": Choice(8, (1, 2, 4, 8, 16, 32), within="[1, 4096]"),
        "targets": Fixed("all", allowed=("all", "3x3", "no_downsample", "dense", *STAGES)),
        **optimiser_space(Float(1e-3, 1e-4, 1e-2, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone and add G and the frozen cores to every target.

        Raises:
            NotDefinedError: the network has no target.
            ValueError: the rank is below 1.
        """
        if int(hp["rank"]) < 1:
            raise ValueError(f"lora_edge: rank={hp['rank']} must be at least 1")
        sites = _targets(model, hp)
        model.backbone.requires_grad_(False)
        for site, rank in sites:
            add_branch(model, site.name, OutputCore(site.module, rank))

    def merge(self, model: Model) -> None:
        """Replace each W0 by W."""
        merge_branches(model)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """c_o r for each target, r cut at c_o and c_i/g k²."""
        return sum(
            site.module.out_channels * min(rank, *site.module.weight.flatten(1).shape)
            for site, rank in _targets(model, hp)
        )


def _targets(model: Model, hp: Hyperparameters) -> list[tuple[ConvSite, int]]:
    return ranked_targets(model, str(hp["targets"]), int(hp["rank"]), lambda conv: conv.out_channels)
