"""Filter subspace tuning: the few spatial atoms that all kernels of a convolution are made of train, their mixture is
frozen."""

from __future__ import annotations

import math
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
    NotDefinedError,
    Space,
    conv_sites,
    optimiser_space,
)

from ._branch import LinearBranch, add_branch, merge_branches
from ._sparse_coding import sparse_codes


class Atoms(LinearBranch):
    """Σ over m of coefficient_oim · atom_m, with atoms that are 0 at first and train.

    Args:
        beside: the convolution whose kernel tells the coefficients.
        atoms: their number.
        inner: 0 for atoms of their own; else so many for each of these, mixed anew for each input.
    """

    def __init__(self, beside: nn.Conv2d, atoms: int, inner: int) -> None:
        super().__init__()
        weight = beside.weight.detach()
        outputs, inputs, height, width = weight.shape
        codes, _ = sparse_codes(weight.reshape(-1, height * width), atoms)
        # Frozen, and no buffer: a checkpoint would hold as many numbers as the network.
        self.coefficients = nn.Parameter(codes.view(outputs, inputs, atoms), requires_grad=False)
        self.atoms = nn.Parameter(torch.zeros(atoms, max(1, inner), height, width))
        if inner:
            deviation = 1 / math.sqrt(3 * inputs * atoms * inner)
            self.mixture = nn.Parameter(deviation * torch.randn(inputs, atoms, inner))
        else:
            self.register_parameter("mixture", None)

    def kernel(self) -> Tensor:
        """The update, of the shape of the convolution's kernel."""
        if self.mixture is None:
            return torch.einsum("oim,mhw->oihw", self.coefficients, self.atoms[:, 0])
        return torch.einsum(
            "oim,imhw->oihw", self.coefficients, torch.einsum("imj,mjhw->imhw", self.mixture, self.atoms)
        )


class FilterAtoms(Method):
    """Write the kernels of each spatial convolution as mixtures of a few atoms, and train the atoms alone.

    Source: Chen, Miao and Qiu 2025, "Large convolutional model tuning via filter subspace", ICLR 2025,
    arXiv 2403.00269, and the authors' code. Each of the c_o · c_i maps of k × k weights of a kernel is a mixture of m
    atoms, with coefficients α that are found once, by sparse coding of the pretrained kernel,

        min over α and D of ½ ‖W0 - Σ_m α_oim D_m‖² + 10^-3 ‖α‖₁,   ‖D_m‖ = 1,

    and stay: they say how channels are combined. What trains is spatial:

        W_oi = W0_oi + Σ_m α_oim ΔD_m,   ΔD_m in R^(k × k), 0 at first.

    ``inner`` j > 0 mixes each atom, for each input i, from inner ones of its own,
    W_oi = W0_oi + Σ_m α_oim Σ_j β_imj ΔD_mj, where ΔD = 0 and β ~ N(0, 1 / (3 c_i m j)) at first, and both train.

    It acts on every convolution of more than one pixel but the stem, where the authors' code adapts the stem and the
    1×1 ones too; the third form of the paper, with atoms of channels for these, is left out. Where the authors' code
    mixes inner atoms, a ``reshape`` assigns them to channels in another order; here it is as written above. The authors
    encode by coordinate descent in the ten rounds that find D and by FISTA in the end; here it is FISTA throughout, and
    D is found on 16,384 of the maps, evenly spaced, where there are more. Of a convolution with g groups α is that of
    the kernel that it has, of c_i/g inputs; one of which the update does not have fewer scalars than W0 is left alone.
    ``weight_decay`` pulls W to W0.

    α has m / k² times as many numbers as the kernels. They follow from these and the seed, but count as storage.

    Trains: m k² scalars a convolution (for ResNet-50 144 · m: 1,296 for m = 9), with inner ones j m (k² + c_i/g), and
    the head.
    """

    name = "filter_atoms"
    space: ClassVar[Space] = {
        "atoms": Choice(9, (6, 9, 12), within="[1, 1024]"),
        "inner": Fixed(0, within="[0, 1024]"),
        **optimiser_space(Float(1e-2, 1e-3, 1e-1, log=True)),
    }

    def adapt(self, model: Model, hp: Hyperparameters) -> None:
        """Freeze the backbone, find the coefficients of every site and add atoms to it.

        Raises:
            NotDefinedError: no convolution is a site.
            ValueError: no atoms, or fewer than no inner ones.
        """
        atoms, inner = int(hp["atoms"]), int(hp["inner"])
        if atoms < 1 or inner < 0:
            raise ValueError(f"filter_atoms: atoms={atoms} must be at least 1 and inner={inner} at least 0, for none")
        sites = _sites(model, hp)
        model.backbone.requires_grad_(False)
        for site in sites:
            add_branch(model, site.name, Atoms(site.module, atoms, inner))

    def merge(self, model: Model) -> None:
        """Fold every update into the kernel beside it."""
        merge_branches(model)

    def expected_trainable(self, model: Model, hp: Hyperparameters) -> int:
        """m k² for each site, or j m (k² + c_i/g)."""
        return sum(_scalars(site.module, hp) for site in _sites(model, hp))


def _sites(model: Model, hp: Hyperparameters) -> list[ConvSite]:
    sites = [
        site
        for site in conv_sites(model.backbone)
        if not site.stem
        and site.module.kernel_size != (1, 1)
        and _scalars(site.module, hp) < site.module.weight.numel()
    ]
    if not sites:
        raise NotDefinedError("this network has no spatial convolution with more weights than its atoms would have")
    return sites


def _scalars(conv: nn.Conv2d, hp: Hyperparameters) -> int:
    """Scalars of the atoms, and of their mixture."""
    atoms, inner = int(hp["atoms"]), int(hp["inner"])
    height, width = conv.kernel_size
    return inner * atoms * (height * width + conv.in_channels // conv.groups) if inner else atoms * height * width
