"""The published activations: what they cost on a ResNet-50, where they start, what they compute."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.activations.base import PreservingActivation
from harness.activations.family import ACTIVATIONS, build_activation
from harness.activations.formulas import Formula
from harness.activations.hinge import H
from harness.activations.laplacian import WithLaplacian
from harness.activations.mixture import M
from harness.activations.window import W3, W4, W5

RESNET50 = [64, *[64, 64, 256] * 3, *[128, 128, 512] * 4, *[256, 256, 1024] * 6, *[512, 512, 2048] * 3]
"""Channels of the 49 activation calls."""

COUNTS = {
    "relu": 0,
    "leaky": 0,
    "silu": 0,
    "gelu": 0,
    "mish": 0,
    "softplus": 0,
    "prelu0": 22_720,
    "ssf_after_relu": 45_440,
    "swish_beta": 22_720,
    "acon_c": 68_160,
    "acon_c_official": 68_160,
    "meta_acon": 2_975_264,
    "srelu": 90_880,
    "apl": 90_880,
    "pau": 490,
    "pau_channel": 227_200,
    "pwlu": 477_120,
    "dy_relu_a": 2_844_220,
    "dy_relu_b": 14_242_840,
    "frelu": 249_920,
    "smu": 49,
    "arelu": 98,
    "t_ct": 45_440,
    "t_ct_relu": 45_440,
    "s_ct": 0,
    "prelu_residual": 22_720,
    "swish_residual": 68_160,
    "pau_residual": 227_200,
    "pau_residual_4": 90_880,
    "kan_residual": 181_760,
    "kan_residual_4": 90_880,
    "kglap": 68_160,
    "kggen": 68_160,
}
RESIDUALS = {kind for kind in COUNTS if "_residual" in kind}
EXACT = {"relu", "prelu0", "ssf_after_relu", "srelu", "apl", "pwlu", "dy_relu_a", "dy_relu_b", "frelu", *RESIDUALS}


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    """Ordinary values, and large ones as they may occur, up to a thousand scales."""
    x = 0.4 * torch.randn(6, 32, 5, 5, generator=torch.Generator().manual_seed(0))
    x[0], x[1, :, 0, 0], x[1, :, 1, 1] = 100 * x[0], 0.0, -0.0
    return x.to(dtype)


def scales() -> Tensor:
    return 0.05 + torch.rand(32, generator=torch.Generator().manual_seed(1))


def test_the_table_has_every_activation() -> None:
    assert set(ACTIVATIONS) == set(COUNTS)
    assert {kind for kind, entry in ACTIVATIONS.items() if entry.exact_at_init} == EXACT
    assert {kind for kind, entry in ACTIVATIONS.items() if entry.on_base is not None} == RESIDUALS
    # At equal parameters with GPAF in its forms w4 and w3.
    assert {COUNTS[kind] for kind in RESIDUALS if kind.endswith("_4")} == {4 * sum(RESNET50)} == {90_880}
    assert COUNTS["swish_residual"] == 3 * sum(RESNET50)
    assert (len(RESNET50), sum(RESNET50)) == (49, 22_720)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_it_has_as_many_numbers_on_a_resnet50_as_its_formula_says(kind: str) -> None:
    entry = ACTIVATIONS[kind]
    with torch.device("meta"):
        assert sum(size(entry.build(channels)) for channels in RESNET50) == COUNTS[kind]
    assert sum(entry.count(channels) for channels in RESNET50) == COUNTS[kind]


@pytest.mark.parametrize(
    ("formula", "count"), [(W3, 68_160), (W4, 90_880), (W5, 113_600), (H, 90_880), (M, 68_160)], ids=str
)
def test_gpaf_has_as_many_numbers_as_its_formula_says(formula: Formula, count: int) -> None:
    assert sum(size(PreservingActivation(formula, channels)) for channels in RESNET50) == count


def test_gpaf_has_as_many_numbers_as_its_sites_and_sharing_say() -> None:
    def total(channels: list[int], groups: int | None = None) -> int:
        return sum(size(PreservingActivation(W4, count, groups=groups)) for count in channels)

    first, second, third = RESNET50[1::3], RESNET50[2::3], RESNET50[3::3]
    assert (total([64, *first, *second]), total(second), total(third)) == (30_464, 15_104, 60_416)
    assert (total(RESNET50[-9:]), total(RESNET50[-3:])) == (36_864, 12_288)
    assert (total(RESNET50, groups=8), total(RESNET50, groups=1)) == (1_568, 196)
    with_laplacian = [WithLaplacian(PreservingActivation(W4, count), count) for count in RESNET50]
    assert sum(map(size, with_laplacian)) == 90_880 + 22_720


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_it_starts_as_relu_where_the_table_says_so_and_not_elsewhere(kind: str) -> None:
    torch.manual_seed(0)
    module = build_activation(kind, 32, scales()).eval()
    for dtype in (torch.float32, torch.bfloat16):
        x = images(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            value = module(x)
        assert value.shape == x.shape and value.dtype == dtype and value.isfinite().all()
        assert torch.equal(value, F.relu(x)) == ACTIVATIONS[kind].exact_at_init


@pytest.mark.parametrize("kind", [kind for kind, count in COUNTS.items() if count])
def test_every_number_of_it_can_be_trained(kind: str) -> None:
    torch.manual_seed(0)
    module = build_activation(kind, 32, scales()).eval()
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    target = torch.randn(6, 32, 5, 5)
    for _ in range(3):  # what starts at 0 holds back its partner
        optimizer.zero_grad()
        (module(images()[1:]) - target[1:]).square().mean().backward()
        optimizer.step()
    assert [name for name, parameter in module.named_parameters() if torch.equal(parameter, before[name])] == []
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in module.named_buffers())


@pytest.mark.parametrize("kind", ["srelu", "apl", "pau_channel", "acon_c", "pwlu", *sorted(RESIDUALS)])
def test_coefficients_count_in_units_of_the_scale(kind: str) -> None:
    """Input and scale times four gives four times the output, whatever the coefficients."""
    module = build_activation(kind, 32)
    for parameter in module.parameters():
        nn.init.trunc_normal_(parameter, std=0.1, b=1.0)
    if kind == "pwlu":
        nn.init.constant_(module.get_parameter("left"), -3.0)
        nn.init.constant_(module.get_parameter("right"), 5.0)
    x, scale = images()[1:], scales()
    module.set_statistics(scale)
    small = module(x)
    module.set_statistics(4 * scale)
    assert torch.allclose(module(4 * x), 4 * small, rtol=1e-4, atol=1e-5)


def test_the_trained_forms_contain_known_functions() -> None:
    x = images()[1:]

    def with_values(kind: str, **values: float) -> Tensor:
        module = build_activation(kind, 32)
        with torch.no_grad():
            for name, value in values.items():
                module.get_parameter(name).fill_(value)
            result: Tensor = module(x)
        return result

    same = {
        "silu by swish": (with_values("swish_beta", beta=1.0), F.silu(x)),
        "silu by acon": (with_values("acon_c", p1=1.0, p2=0.0, beta=1.0), F.silu(x)),
        "leaky by acon": (with_values("acon_c", p1=1.0, p2=0.1, beta=1e5), F.leaky_relu(x, 0.1)),
        "hard tanh by srelu": (with_values("srelu", t_left=-1.0, a_left=0.0, t_right=1.0, a_right=0.0), F.hardtanh(x)),
        "leaky by apl": (with_values("apl", a1=-0.1, b1=0.0), F.leaky_relu(x, 0.1)),
        "silu by curvature": (with_values("t_ct", raw_beta=0.0, raw_share=50.0), F.silu(x)),
        "leaky by smu": (with_values("smu", mu=1e6), F.leaky_relu(x, 0.25)),
        "leaky by prelu": (with_values("prelu0", slope=0.3), F.leaky_relu(x, 0.3)),
    }
    assert [name for name, (a, b) in same.items() if not torch.allclose(a, b, rtol=1e-5, atol=1e-6)] == []


def test_curvature_tuning_is_its_formula_trained_or_not_and_nears_relu() -> None:
    x = images().double()
    for beta in (0.8, 0.95, 0.999):
        z = x / (1 - beta)
        expected = 0.5 * torch.sigmoid(beta * z) * x + 0.5 * (1 - beta) * F.softplus(z)
        for kind in ("t_ct", "s_ct"):
            assert torch.allclose(build_activation(kind, 32, beta=beta).double()(x), expected, rtol=1e-6, atol=1e-7)
    trained = build_activation("t_ct", 3).double()
    numbers = tuple(trained.parameters())

    def function(x: Tensor, *_: Tensor) -> Tensor:
        return trained(x)

    values = torch.linspace(-3.5, 3.5, 30, dtype=torch.float64).view(5, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(function, (values, *numbers))
    assert (build_activation("t_ct_relu", 32)(images()) - F.relu(images())).abs().max() < 1e-3
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.0"):
        build_activation("t_ct", 4, beta=1.0)
    with pytest.raises(ValueError, match="belongs to t_ct and s_ct, not to apl"):
        build_activation("apl", 4, beta=0.9)
    with pytest.raises(ValueError, match="no activation 'sreul'; did you mean 'srelu'"):
        build_activation("sreul", 4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_curvature_tuning_in_parts_is_the_formula(layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.activations.grid._PART", {"cpu": 100})
    module = build_activation("t_ct", 6).double()
    x = (3 * torch.randn(7, 6, 5, 4, dtype=torch.float64)).to(memory_format=layout).requires_grad_()
    upstream = torch.randn(x.shape, dtype=torch.float64)
    beta, share = (
        torch.sigmoid(p).view(6, 1, 1) for p in (module.get_parameter("raw_beta"), module.get_parameter("raw_share"))
    )
    value = share * torch.sigmoid(beta / (1 - beta) * x) * x + (1 - share) * (1 - beta) * F.softplus(x / (1 - beta))
    inputs = [x, *module.parameters()]
    found = [module(x), *torch.autograd.grad(module(x), inputs, upstream)]
    for one, other in zip(found, [value, *torch.autograd.grad(value, inputs, upstream)], strict=True):
        assert (one - other).norm() <= 1e-6 * other.norm()
    assert found[0].stride() == x.stride()


def test_how_much_a_fixed_swap_changes() -> None:
    """Relative root mean square change from ReLU under N(0, 1), and at a standard deviation of 0.25."""
    z = torch.linspace(-9, 9, 100_001, dtype=torch.float64)
    density = torch.exp(-0.5 * z * z)

    def shock(kind: str, deviation: float = 1.0) -> float:
        x = (deviation * z)[:, None]
        value = build_activation(kind, 1).double()(x)
        away, own = (value - F.relu(x))[:, 0], F.relu(x)[:, 0]
        return math.sqrt(((density * away * away).sum() / (density * own * own).sum()).item())

    found = {kind: shock(kind) for kind in ("silu", "gelu", "mish", "softplus")}
    assert found == pytest.approx({"silu": 0.295, "gelu": 0.179, "mish": 0.258, "softplus": 0.62}, abs=3e-3)
    assert shock("silu", 0.25) == pytest.approx(0.57, abs=5e-3)
    assert (shock("t_ct"), shock("t_ct", 0.25), shock("t_ct", 0.15)) == pytest.approx((0.027, 0.17, 0.34), abs=5e-3)


def test_pwlu_interpolates_its_values_and_its_boundaries_train() -> None:
    module = build_activation("pwlu", 2).double()
    points = torch.linspace(-4, 4, 17, dtype=torch.float64)
    with torch.no_grad():
        module.get_parameter("values").copy_(torch.stack([points.square(), points.sin()]))
        module.get_parameter("slope_left").fill_(-2.0)
    unit = 2.0  # the power of two above a scale of 1
    x = torch.tensor([-10.0, -9.0, -8.0, 0.5, 1.0, 8.0, 9.0], dtype=torch.float64)
    value = module(x[:, None].expand(-1, 2))
    assert value[:, 0].tolist()[2:6] == [unit * 16.0, unit * 0.125, unit * 0.25, unit * 16.0]
    assert value[:, 0].tolist()[0] == unit * (16.0 + 2.0)
    assert value[:, 0].tolist()[6] == unit * (16.0 + 0.5)
    assert torch.autograd.gradcheck(lambda x: module(x), x[3:5, None].expand(-1, 2).clone().add_(0.1).requires_grad_())


def test_the_prototypes_controls_are_far_from_relu() -> None:
    x = torch.randn(400_000, generator=torch.Generator().manual_seed(0)).view(1, 1, -1, 1)
    relu = F.relu(x)
    wave = build_activation("kggen", 1)(x)
    assert ((wave - relu).norm() / relu.norm()).item() == pytest.approx(1.30, abs=0.02)
    constant = torch.full((1, 1, 3, 3), 2.0)
    assert torch.allclose(build_activation("kglap", 1)(constant), torch.full((1, 1, 3, 3), 2.0 + 2.0 + 0.4))
