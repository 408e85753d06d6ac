"""Activations that start as the network's own: exact at first, right derivatives, formulas as published."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import scipy.interpolate
import torch
import torch.nn.functional as F
from example_activations import BASES, EXTREMES, FORMULAS, activation, images, value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.activations.base import PreservingActivation, mean_deviation
from harness.activations.bases import RELU, Base
from harness.activations.bspline import B4, B8, BSpline
from harness.activations.formulas import Execution, Formula
from harness.activations.laplacian import WithLaplacian, laplacian
from harness.activations.placement import LastDimension
from harness.activations.rational import R21, R54, Rational
from harness.activations.window import W3, W4, W5
from harness.networks.activation_calls import Kind


@pytest.mark.parametrize("execution", ["plain", "fused"])
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize("base", BASES)
def test_it_starts_as_its_base_bit_for_bit(formula: Formula, base: str, execution: Execution) -> None:
    module = activation(formula, base, execution)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        for layout in (torch.contiguous_format, torch.channels_last):
            x = images(*EXTREMES, dtype=dtype).to(memory_format=layout)
            x = x.nan_to_num()  # float16 has no 1e30
            value, gradient, _ = value_and_gradients(module, x)
            expected, expected_gradient = value_and_gradients(BASES[base], x)
            assert torch.equal(value, expected) and value.dtype == dtype and value.stride() == expected.stride()
            # torch's gradients of Mish and of the tanh form of GELU are themselves no numbers at 1e30.
            nan = base in ("gelu_tanh", "mish")
            assert torch.allclose(gradient, expected_gradient, rtol=0, atol=0, equal_nan=nan)
            assert gradient.dtype == dtype
        limits = torch.tensor([math.inf, -math.inf, math.nan], dtype=dtype).expand(1, 6, 3)
        assert torch.allclose(module(limits), BASES[base](limits), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("execution", ["plain", "fused"])
@pytest.mark.parametrize("base", BASES)
def test_it_starts_as_its_base_where_channels_are_the_last_dimension(base: str, execution: Execution) -> None:
    # torch computes GELU of a contiguous tensor by another library than that of a transposed one.
    module = PreservingActivation(W4, 384, base=Base.of(BASES[base], -1), execution=execution)
    x = torch.randn(2, 8, 8, 384, generator=torch.Generator().manual_seed(5))
    value, gradient, _ = value_and_gradients(LastDimension(module), x)
    expected, expected_gradient = value_and_gradients(BASES[base], x)
    assert torch.equal(value, expected) and torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("execution", ["plain", "fused"])
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_a_trained_one_stays_finite_and_returns_to_its_base(formula: Formula, execution: Execution) -> None:
    module = activation(formula, execution=execution)
    nn.init.uniform_(module.coefficients, -0.5, 0.5, generator=torch.Generator().manual_seed(1))
    for dtype, most in ((torch.float32, 1e30), (torch.bfloat16, 1e30), (torch.float16, 1e4)):
        results = value_and_gradients(module, images(most, -most, 0.0, dtype=dtype))
        assert all(result.isfinite().all() for result in results)
    infinite = module(torch.tensor([math.inf, -math.inf]).expand(1, 6, 2))
    assert not infinite.isnan().any()
    assert not torch.equal(module(images()), F.relu(images()))
    nn.init.zeros_(module.coefficients)
    assert torch.equal(module(images()), F.relu(images()))


@pytest.mark.parametrize(
    ("formula", "base"), [*((formula, "relu") for formula in FORMULAS), *(("w5", base) for base in BASES)]
)
def test_the_derivatives_are_those_of_the_function(formula: str, base: str) -> None:
    module = activation(FORMULAS[formula], base, "fused").double()
    nn.init.normal_(module.coefficients, generator=torch.Generator().manual_seed(2))
    scale = module.get_buffer("scale").fill_(0.7)[:, None]
    x = images(dtype=torch.float64)[:2, :, :2, 0].requires_grad_()
    kinks = [torch.zeros_like(scale)]
    if base in ("relu6", "hardswish"):
        kinks += [torch.full_like(scale, place) for place in (-3.0, 3.0, 6.0)]
    if formula == "h":
        kinks += [module.get_buffer("centre")[:, None] + scale * knot for knot in (-1.0, 0.0, 1.0)]
    assert all((x - kink).abs().min() > 1e-4 for kink in kinks)

    def function(x: Tensor, coefficients: Tensor) -> Tensor:
        return torch.func.functional_call(module, {"coefficients": coefficients}, (x,))

    assert torch.autograd.gradcheck(function, (x, module.coefficients))


def test_every_activation_of_torch_that_networks_use_is_a_base_with_its_arguments() -> None:
    assert Base.of(nn.ReLU(inplace=True)) == RELU and Base.of(nn.LeakyReLU(0.3)) == Base("leaky_relu", (0.3,))
    assert Base.of(nn.GELU("tanh")) != Base.of(nn.GELU())
    assert {Base.of(module).kind for module in BASES.values()} == set(get_args(Kind))
    with pytest.raises(ValueError, match="Tanh is no activation that can be a base; known: relu, relu6,"):
        Base.of(nn.Tanh())


def test_sites_that_share_coefficients_train_them_together() -> None:
    first = activation(W4, groups=1)
    second = PreservingActivation(W4, 4, groups=1, coefficients=first.coefficients)
    both = nn.ModuleList([first, second])
    assert [p.shape for p in both.parameters()] == [(4, 1)]
    (first(images()).sum() + second(torch.randn(2, 4, 3, 3)).sum()).backward()
    with torch.no_grad():
        first.coefficients[0] = 0.25
    assert second(torch.full((1, 4), -2.0)).equal(torch.full((1, 4), -0.5))


def test_neighbouring_channels_of_a_group_share_coefficients() -> None:
    module = PreservingActivation(W4, 6, groups=3)
    with torch.no_grad():
        module.coefficients[0] = torch.tensor([0.1, 0.2, 0.3])
    # Far from 0 the window is closed.
    assert torch.allclose(module(torch.full((1, 6), -100.0)), torch.tensor([[-10.0, -10, -20, -20, -30, -30]]))


@settings(max_examples=40, deadline=None)
@given(
    formula=st.sampled_from([W3, W4, W5]),
    seed=st.integers(0, 2**31),
    scale=st.floats(0.01, 100.0),
)
def test_far_from_the_scale_only_the_slopes_are_felt(formula: Formula, seed: int, scale: float) -> None:
    module = PreservingActivation(formula, 1).double()
    module.set_statistics(torch.tensor([scale]))
    nn.init.normal_(module.coefficients, generator=torch.Generator().manual_seed(seed))
    given_now = dict(zip(formula.names, module.coefficients.detach().flatten().tolist(), strict=True))
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None] * scale
    lines = (1 + given_now.get("p", 0.0)) * F.relu(x) - given_now["q"] * F.relu(-x)
    bound = abs(given_now["a0"]) + math.exp(-0.5) * (abs(given_now.get("a1", 0.0)) + abs(given_now["a2"]))
    away = (module(x) - lines).abs()
    assert away.max() <= scale * bound * (1 + 1e-9)
    assert away[x.abs() > 7.5 * scale].max() <= 1e-10 * scale * (1 + bound)


@pytest.mark.parametrize("formula", [B4, B8])
def test_splines_are_those_of_the_reference_and_end_four_scales_from_zero(formula: BSpline) -> None:
    knots = np.linspace(-4, 4, len(formula.names) + 4)
    coefficients = np.random.default_rng(0).normal(size=len(formula.names))
    one = scipy.interpolate.BSpline.basis_element
    bases = [one(knots[start : start + 5], extrapolate=False) for start in range(len(coefficients))]
    module = PreservingActivation(formula, 1).double()
    module.set_statistics(torch.tensor([2.0]))
    with torch.no_grad():
        module.coefficients.copy_(torch.tensor(coefficients)[:, None])
    x = torch.linspace(-12, 12, 2001, dtype=torch.float64)
    found = (module(x[:, None])[:, 0] - F.relu(x)).detach().numpy()
    reference = sum(c * np.nan_to_num(basis(x.numpy() / 2.0)) for c, basis in zip(coefficients, bases, strict=True))
    assert np.allclose(found, 2.0 * reference, atol=1e-12)
    assert not found[np.abs(x.numpy()) > 8.0].any() and np.abs(found).max() <= 2.0 * np.abs(coefficients).max()


@pytest.mark.parametrize("formula", [R21, R54])
def test_a_ratio_is_that_of_its_polynomials_and_stays_as_it_is_beyond_its_reach(formula: Rational) -> None:
    values = np.random.default_rng(0).normal(size=len(formula.names))
    module = PreservingActivation(formula, 1).double()
    module.set_statistics(torch.tensor([0.5]))
    with torch.no_grad():
        module.coefficients.copy_(torch.tensor(values)[:, None])
    x = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    z = np.clip(x.numpy() / 0.5, -8, 8)
    above = np.polynomial.Polynomial(values[: formula.degree + 1])
    below = np.polynomial.Polynomial([0.0, *(values[formula.degree + 1 :] + np.array(formula.start))])
    found = (module(x[:, None])[:, 0] - F.relu(x)).detach().numpy()
    assert np.allclose(found, 0.5 * above(z) / (1 + np.abs(below(z))), atol=1e-12)
    leaf = torch.tensor([[5.0], [-5.0]], dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(module(leaf).sum(), leaf)[0]
    assert torch.equal(slope, torch.tensor([[1.0], [0.0]], dtype=torch.float64))


def test_the_laplacian_starts_at_zero_and_ignores_a_constant() -> None:
    module = WithLaplacian(activation(W4), 6)
    x = images(*EXTREMES[:7])
    value, gradient, *_ = value_and_gradients(module, x)
    expected = value_and_gradients(nn.ReLU(), x)
    assert torch.equal(value, expected[0]) and torch.equal(gradient, expected[1])
    half = images(6e4, -6e4, dtype=torch.float16)
    assert torch.equal(module(half), F.relu(half))
    assert torch.equal(laplacian(torch.full((1, 2, 3, 3), 7.0)), torch.zeros(1, 2, 3, 3))
    spot = torch.zeros(1, 1, 5, 5)
    spot[0, 0, 2, 2] = 1.0
    with torch.no_grad():
        module.kappa.fill_(0.5)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    assert torch.equal(laplacian(spot)[0, 0, 1:4, 1:4], kernel)
    assert torch.equal(module(spot.expand(1, 6, 5, 5))[0, 3, 1:4, 1:4], F.relu(spot)[0, 0, 1:4, 1:4] + 0.5 * kernel)


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_the_penalty_is_the_mean_square_under_the_normal_distribution(formula: Formula) -> None:
    module = activation(formula).double()
    module.get_buffer("scale")[0] = 0.5
    assert mean_deviation([module]).item() == 0.0
    nn.init.normal_(module.coefficients, generator=torch.Generator().manual_seed(4))
    scale = module.get_buffer("scale")
    centre = dict(module.named_buffers()).get("centre", torch.zeros_like(scale))
    # The trapezoidal rule; so fine that kinks between its points do not matter.
    z = torch.linspace(-10, 10, 2_000_001, dtype=torch.float64)[:, None]
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    for channel in range(6):
        one = PreservingActivation(formula, 1).double()
        one.set_statistics(scale[channel : channel + 1], centre[channel : channel + 1])
        with torch.no_grad():
            one.coefficients.copy_(module.coefficients[:, channel : channel + 1])
            x = centre[channel] + scale[channel] * z
            expected = (density * ((one(x) - F.relu(x)) / scale[channel]).square()).sum()
        # A ratio has kinks where its denominator is 0, which its rule of integration knows nothing of.
        tolerance = 1e-4 if formula in (R21, R54) else 1e-8
        assert module.deviation()[channel].item() == pytest.approx(expected.item(), rel=tolerance)
    gradient = torch.autograd.grad(mean_deviation([module, module]), module.coefficients)[0]
    assert gradient.isfinite().all() and gradient.abs().max() > 0
