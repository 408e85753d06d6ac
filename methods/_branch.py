"""A frozen convolution with a linear branch beside it, which can be folded into its kernel."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.api import Model


class LinearBranch(nn.Module, ABC):
    """A linear map beside a convolution, without a bias, by the kernel that would compute it."""

    @abstractmethod
    def kernel(self) -> Tensor:
        """The kernel, of the shape of the convolution's."""

    def applied_to(self, weight: Tensor) -> Tensor:
        """The kernel of the convolution and the branch together, of the shape of ``weight``, the convolution's."""
        return weight + self.kernel()


class ConvWithBranch(nn.Module):
    """conv(x) + branch(x), as one convolution with one kernel, the sum of both unless the branch says otherwise.

    The same function as two convolutions; what is folded in the end is then what was trained, to the last bit.
    """

    def __init__(self, conv: nn.Conv2d, branch: LinearBranch) -> None:
        super().__init__()
        self.conv = conv
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, co, height, width) from (N, ci, height, width)."""
        value: Tensor = functional_call(self.conv, {"weight": self.weight()}, x)
        return value

    def weight(self) -> Tensor:
        """The kernel of both."""
        return self.branch.applied_to(self.conv.weight)


def add_branch(model: Model, name: str, branch: LinearBranch) -> None:
    """Put a branch beside the convolution at a path below the backbone."""
    conv = model.backbone.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    both = ConvWithBranch(conv, branch.to(conv.weight))
    model.backbone.set_submodule(name, both.train(conv.training))


def merge_branches(model: Model) -> None:
    """Fold every branch into its convolution, in place; a second call finds nothing to do."""
    for name, module in list(model.backbone.named_modules()):
        if isinstance(module, ConvWithBranch):
            with torch.no_grad():
                module.conv.weight.copy_(module.weight())
            model.backbone.set_submodule(name, module.conv)


class Pointwise(LinearBranch):
    """A 1×1 convolution with the stride and groups of another, through r channels or directly; its last factor is 0
    at first.

    Args:
        beside: a convolution with an odd kernel, whose middle the 1×1 one is.
        rank: r; 0 is direct. The groups have the way into the r channels in common.
    """

    def __init__(self, beside: nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.rows, self.columns = (size // 2 for size in beside.kernel_size)
        inputs = beside.in_channels // beside.groups
        self.up = nn.Parameter(torch.zeros(beside.out_channels, rank or inputs))
        self.down = nn.Parameter(_uniform(rank, inputs)) if rank else None

    def kernel(self) -> Tensor:
        """The 1×1 kernel in the middle of zeros."""
        matrix = self.up if self.down is None else self.up @ self.down
        sides = (self.columns, self.columns, self.rows, self.rows)
        return nn.functional.pad(matrix[:, :, None, None], sides)


class LowRank(LinearBranch):
    """scale · up(down(x)): a convolution like another to r channels, then 1×1 to its outputs, 0 at first.

    Beside one of several groups, each group goes through the same ``down``.
    """

    def __init__(self, beside: nn.Conv2d, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Parameter(_uniform(rank, beside.in_channels // beside.groups, *beside.kernel_size))
        self.up = nn.Parameter(torch.zeros(beside.out_channels, rank))

    def kernel(self) -> Tensor:
        """scale · the product of both kernels."""
        product = self.up @ self.down.flatten(1)
        return self.scale * product.view(len(self.up), *self.down.shape[1:])


def _uniform(*shape: int) -> Tensor:
    """As torch draws the weights of its layers: within 1 / sqrt(inputs of an output)."""
    return nn.init.kaiming_uniform_(torch.empty(shape), a=math.sqrt(5))
