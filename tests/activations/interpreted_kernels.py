"""What Triton's interpreter computes beside plain autograd; ``test_executions.py`` runs it in a process of its own.

The interpreter is chosen by ``TRITON_INTERPRET=1``, before triton is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from example_activations import EXTREMES, FORMULAS, activation

from harness.activations import triton_kernels
from harness.activations.curvature import CurvatureTuning
from harness.activations.laplacian import WithLaplacian

CLOSE = 1e-5
HALF = {torch.bfloat16: 2**-7, torch.float16: 2**-10}
"""dtype → the distance of two neighbours, relative to them: where a GPU rounds, the interpreter cuts off."""


def laid_out(channels: int) -> Iterator[Tensor]:
    """Images and rows of odd sizes in every layout: dense, channels last, a view that is neither, one element."""
    generator = torch.Generator().manual_seed(channels)
    image = torch.randn(3, channels, 5, 7, generator=generator)
    yield image
    yield image.to(memory_format=torch.channels_last)
    yield torch.randn(2, channels, 13, 11, generator=generator)[:, :, 1::2, ::3]
    yield torch.randn(9, channels, generator=generator)
    yield torch.randn(1, channels, 1, 1, generator=generator)


def results(module: nn.Module, x: Tensor, with_x: bool = True, rounded: torch.dtype | None = None) -> list[Tensor]:
    """The value and the gradients of x, where these are wanted, and of the parameters.

    Args:
        module: maps x.
        x: the input.
        with_x: whether its gradient is wanted.
        rounded: dtype to which what comes from above is rounded.
    """
    leaf = x.detach().requires_grad_(with_x)
    value = module(leaf)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(7)).to(rounded or x.dtype).to(x.dtype)
    return [value.detach(), *torch.autograd.grad(value, [*([leaf] if with_x else []), *module.parameters()], upstream)]


def compare(what: object, plain: nn.Module, kernel: nn.Module, x: Tensor, with_x: bool = True) -> None:
    """Both alike, and where the input has few bits as near to what it has in many as these bits allow."""
    kernel.load_state_dict(plain.state_dict())
    expected, found = results(plain, x.float(), with_x, x.dtype), results(kernel, x, with_x)
    assert found[0].dtype == x.dtype and found[0].shape == x.shape
    for place, (wanted, own) in enumerate(zip(expected, found, strict=True)):
        # Sums over coefficients are in float32 whatever the input is; so is all else until it is stored.
        most = CLOSE + (HALF[x.dtype] if x.dtype in HALF and place <= with_x else 0)
        assert own.isfinite().all(), (what, place)
        assert (own.float() - wanted).norm() <= most * wanted.norm() + 1e-12, (what, x.dtype, tuple(x.shape), place)


def trained(make: Callable[[str], nn.Module]) -> tuple[nn.Module, nn.Module]:
    """A plain one and its kernel, away from where both start."""
    plain, kernel = make("plain"), make("triton")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return plain, kernel


def formulas() -> None:
    """Each formula on ReLU and on another base, one coefficient a channel or shared, in every layout."""
    for number, (name, formula) in enumerate(FORMULAS.items()):
        base, groups = ("relu", "silu", "hardswish")[number % 3], (6, 2, 1)[number % 3]
        for x in laid_out(6):
            assert torch.equal(*(activation(formula, base, how)(x) for how in ("plain", "triton"))), name
            compare(name, *trained(lambda how: activation(formula, base, how, groups=groups)), x)  # noqa: B023
        for dtype in HALF:
            compare(name, *trained(lambda how: activation(formula, base, how)), x.to(dtype))  # noqa: B023
        compare(name, *trained(lambda how: activation(formula, base, how)), x, with_x=False)  # noqa: B023


def one_channel_and_many() -> None:
    for channels in (1, 67):
        for x in laid_out(channels):
            compare(channels, *trained(lambda how: activation(FORMULAS["w4"], "relu", how, channels=channels)), x)  # noqa: B023


def extremes() -> None:
    """What is no number to plain autograd is none to a kernel, and every finite input has a finite value."""
    x = torch.tensor([*EXTREMES, 1e4, -1e4, torch.nan])[:, None].expand(-1, 6).contiguous()
    for name, formula in FORMULAS.items():
        plain, kernel = (activation(formula, "relu", how) for how in ("plain", "triton"))
        assert torch.equal(plain(x)[:-1], kernel(x)[:-1]), name
        assert kernel(x)[-1].isnan().all() and kernel(x)[:-1].isfinite().all(), name


def curvature() -> None:
    """Curvature tuning beside its own fused form."""
    for x in laid_out(6):
        for dtype in (torch.float32, *HALF):
            plain, kernel = CurvatureTuning(6, execution="fused"), CurvatureTuning(6, execution="triton")
            with torch.no_grad():
                for parameter in plain.parameters():
                    parameter.add_(torch.linspace(-2, 2, parameter.numel()).view_as(parameter))
            compare("curvature", plain, kernel, x.to(dtype))
            compare("curvature", plain, kernel, x.to(dtype), with_x=False)
    far = torch.tensor([1e4, -1e4, 1e30, -1e30, 0.0, -0.0, 5e-45])[:, None].expand(-1, 6).contiguous()
    compare("curvature, far", CurvatureTuning(6, execution="fused"), CurvatureTuning(6, execution="triton"), far[4:])
    value = CurvatureTuning(6, execution="triton")(far)
    assert torch.allclose(value, CurvatureTuning(6, execution="fused")(far), rtol=1e-6)


def laplacians() -> None:
    """The five-point Laplacian inside the same pass, at borders of every kind."""
    for x in laid_out(6):
        if x.dim() == 4:
            for name in ("w3", "m"):
                compare(
                    f"{name} + laplacian",
                    *trained(lambda how: WithLaplacian(activation(FORMULAS[name], "relu", how), 6)),  # noqa: B023
                    x,
                )
    line = torch.randn(2, 6, 1, 9, generator=torch.Generator().manual_seed(2))
    compare("a line", *trained(lambda how: WithLaplacian(activation(FORMULAS["w3"], "silu", how), 6)), line)


def splits() -> None:
    """However the rows are divided among programs, and with places counted in 64 bits, the same comes out."""
    generator = torch.Generator().manual_seed(4)
    few = torch.randn(3, 2, 31, 29, generator=generator)
    many = torch.randn(3, 2, 9, 11, generator=generator).to(memory_format=torch.channels_last)
    for x in (few, many):
        plain, kernel = trained(lambda how: activation(FORMULAS["w5"], "relu", how, channels=2))
        kernel.load_state_dict(plain.state_dict())
        usual = results(kernel, x)
        for programs in (1, 2, 64):
            with mock.patch.object(triton_kernels, "_PROGRAMS", programs):
                for one, same in zip(usual, results(kernel, x), strict=True):
                    assert (one - same).norm() <= CLOSE * one.norm(), programs
        with mock.patch.object(triton_kernels, "_NARROW", 0):
            assert all(torch.equal(one, same) for one, same in zip(usual, results(kernel, x), strict=True))


if __name__ == "__main__":
    for check in (formulas, one_channel_and_many, extremes, curvature, laplacians, splits):
        check()
        print(check.__name__, flush=True)
