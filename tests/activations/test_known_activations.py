"""How near activations that start as the network's own can come to known ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.activations.base import PreservingActivation
from harness.activations.formulas import Formula
from harness.activations.hinge import H
from harness.activations.mixture import M
from harness.activations.window import W4, W5


@pytest.mark.parametrize(
    ("formula", "target", "error", "plain"),
    [
        (W4, F.silu, 0.028, 0.209),
        (W4, F.gelu, 0.015, 0.127),
        (W4, F.softplus, 0.029, 0.440),
        (W4, F.mish, 0.010, 0.183),
        (W4, F.elu, 0.013, 0.381),
        (W4, F.selu, 0.029, 0.670),
        (W4, F.hardswish, 0.046, 0.259),
        (W4, F.leaky_relu, 0.0, 0.007),
        (W5, F.silu, 0.009, 0.209),
        (H, F.silu, 0.058, 0.209),
        (H, F.gelu, 0.054, 0.127),
        (H, F.softplus, 0.069, 0.440),
    ],
)
def test_how_close_it_comes_to_known_activations(
    formula: Formula, target: Callable[[Tensor], Tensor], error: float, plain: float
) -> None:
    """L2 errors under N(0, 1) of the best fit, and of ReLU itself, to three digits."""
    z = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    root = (torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * (z[1] - z[0])).sqrt().numpy()
    module = PreservingActivation(formula, 1).double()
    rest = (target(z) - F.relu(z)).numpy() * root
    columns = []
    for index in range(len(formula.names)):
        with torch.no_grad():
            module.coefficients.zero_()[index] = 1.0
            columns.append((module(z[:, None])[:, 0] - F.relu(z)).numpy() * root)
    basis = np.stack(columns, axis=1)
    best = np.linalg.lstsq(basis, rest, rcond=None)[0]
    assert np.linalg.norm(basis @ best - rest) == pytest.approx(error, abs=6e-4)
    assert np.linalg.norm(rest) == pytest.approx(plain, abs=6e-4)


def test_the_mixture_contains_swish() -> None:
    module = PreservingActivation(M, 1).double()
    module.set_statistics(torch.tensor([2.0]))
    x = torch.linspace(-20, 20, 401, dtype=torch.float64)[:, None]
    with torch.no_grad():
        module.coefficients[:, 0] = torch.tensor([0.0, 1.0, math.log(2.0)], dtype=torch.float64)
    assert torch.allclose(module(x), F.silu(x), rtol=1e-12, atol=1e-12)
