"""One activation of each formula and base, images for it, and what it makes of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.activations.base import PreservingActivation
from harness.activations.bases import Base
from harness.activations.bspline import B4, B8
from harness.activations.formulas import Execution, Formula
from harness.activations.hinge import H
from harness.activations.mixture import M
from harness.activations.rational import R21, R54
from harness.activations.slope import SLOPE
from harness.activations.window import W3, W4, W5

BASES: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(0.2),
    "elu": nn.ELU(0.7),
    "selu": nn.SELU(),
    "celu": nn.CELU(0.6),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
    "softplus": nn.Softplus(2.0, 15.0),
}
FORMULAS: dict[str, Formula] = {
    **{"w3": W3, "w4": W4, "w5": W5, "h": H, "m": M},
    **{"slope": SLOPE, "r21": R21, "r54": R54, "b4": B4, "b8": B8},
}
EXTREMES = (0.0, -0.0, 1e-30, -1e-30, 5e-45, 1e30, -1e30, 3e38, -3e38)


def activation(
    formula: Formula, base: str = "relu", execution: Execution = "plain", channels: int = 6, **more: int
) -> PreservingActivation:
    """One with busy statistics, a nearly dead channel among them."""
    module = PreservingActivation(formula, channels, base=Base.of(BASES[base]), execution=execution, **more)
    generator = torch.Generator().manual_seed(3)
    scale = 0.1 + torch.rand(channels, generator=generator)
    scale[0] = 1e-3
    module.set_statistics(scale, torch.randn(channels, generator=generator))
    return module


def images(*extra: float, dtype: torch.dtype = torch.float32, channels: int = 6) -> Tensor:
    x = torch.randn(4, channels, 5, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for position, value in enumerate(extra):
        x[position % 4, :, position // 4 % 5, position % 3] = value
    return x.to(dtype)


def value_and_gradients(module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = module(x)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(x.dtype)
    return (value.detach(), *torch.autograd.grad(value, [x, *module.parameters()], upstream))
