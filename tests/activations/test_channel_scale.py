"""The scale of a channel: read from a norm or measured, never close to 0, and without a trace in the model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.activations.scale import FLOOR, calibrate, scale_from_norm


def test_a_norms_scale_is_its_gamma_and_dead_channels_are_lifted() -> None:
    norm = nn.BatchNorm2d(5)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-2.0, 1.0, 0.5, 0.0, 1e-9]))
        norm.bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    scale, centre = scale_from_norm(norm)
    assert torch.equal(scale, torch.tensor([2.0, 1.0, 0.5, FLOOR * 0.5, FLOOR * 0.5]))
    assert torch.equal(centre, norm.bias) and not centre.requires_grad
    nn.init.zeros_(norm.weight)
    assert torch.equal(scale_from_norm(norm).scale, torch.ones(5))
    with torch.no_grad():
        norm.weight[0] = 3.0
    assert torch.equal(scale_from_norm(norm).scale, torch.tensor([3.0] + [FLOOR * 3.0] * 4))
    with pytest.raises(ValueError, match="no scale and shift; calibrate on training images"):
        scale_from_norm(nn.BatchNorm2d(5, affine=False))


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_measured_in_batches_is_measured_at_once(sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    batches = [torch.randn(size, 3, 4, 2, generator=generator) * 3 + 1000 for size in sizes]
    whole = torch.cat(batches).double().transpose(0, 1).flatten(1)
    scale, centre = measured(batches)
    expected = whole.std(1, correction=0)
    assert torch.allclose(scale.double(), expected.clamp_min(FLOOR * expected.median().item()), rtol=1e-6)
    assert torch.allclose(centre.double(), whole.mean(1), rtol=1e-6)


def measured(batches: list[Tensor]) -> tuple[Tensor, Tensor]:
    site = nn.ReLU()
    return calibrate(nn.Sequential(site), {"site": site}, batches)["site"]


def test_calibrating_leaves_no_trace_and_draws_no_more_than_it_may() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()).train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = []

    def batches() -> Iterator[Tensor]:
        for number in range(100):
            drawn.append(number)
            yield torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(number))

    first = calibrate(model, {"relu": model[2]}, batches(), most=7)
    assert len(drawn) == 7
    assert [module.training for module in model] == [True, False, True, True, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    again = calibrate(model, {"relu": model[2]}, batches(), most=7)
    assert torch.equal(first["relu"].scale, again["relu"].scale)


def test_what_cannot_be_measured_is_named() -> None:
    site, other = nn.ReLU(), nn.ReLU()
    with pytest.raises(ValueError, match="unused: saw no image"):
        calibrate(site, {"unused": other}, [torch.ones(1, 2)])
    with pytest.raises(ValueError, match="site: its input is not finite"):
        calibrate(site, {"site": site}, [torch.full((1, 2), torch.inf)])
    assert not site._forward_pre_hooks and not other._forward_pre_hooks
