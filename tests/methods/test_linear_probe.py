"""The linear probe's exact solver against scikit-learn's, and its place in a trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jobs import CATALOGUE, Digits, job, run
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from harness.method import Method
from harness.networks.backbones import Model
from harness.proof.comparison import trial_differences
from harness.proof.conformance import random_network, violations
from harness.space.parameters import defaults
from harness.train.criterion import build_criterion
from harness.train.step import StepContext, build_optimizer

LinearProbe = CATALOGUE.all(Method)["linear_probe"].cls
CLASSES = 10


class Images:
    """Scikit-learn's digits as training images of three channels: the picture, its root, its square."""

    def __init__(self) -> None:
        raw, labels = load_digits(return_X_y=True)
        # Uneven on purpose: of the first five classes, only every fourth image.
        keep = (labels >= 5) | (np.arange(len(labels)) % 4 == 0)
        plain = torch.from_numpy(raw[keep] / 16).float().view(-1, 1, 8, 8)
        self.images = torch.cat([plain, plain.sqrt(), plain.square()], dim=1)
        self.labels = torch.from_numpy(labels[keep]).long()

    def draw(self, side: str, size: int, number: int) -> tuple[Tensor, Tensor]:
        raise AssertionError("the solver draws nothing")

    def first(self, size: int) -> tuple[Tensor, Tensor]:
        raise AssertionError("the solver takes all images")

    def all(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.images.split(size), self.labels.split(size), strict=True)


def solved(data: Images, l2: float, balanced: bool, smoothing: float = 0.0) -> tuple[nn.Module, Model]:
    """Criterion and model after the probe has been fitted on pixels as features."""
    model = Model(nn.Flatten(), 192, CLASSES)
    hp = {**defaults(LinearProbe.space), "solver": "lbfgs", "l2": l2}
    method = LinearProbe()
    method.adapt(model, hp)
    criterion = build_criterion(data.labels, CLASSES, "balanced" if balanced else "none", smoothing)
    context = StepContext(
        model=model,
        optimizer=build_optimizer("adamw", method.param_groups(model, hp)),
        criterion=criterion,
        device=torch.device("cpu"),
        precision=None,
        scaler=None,
        clip_norm=None,
        batches=data,
        steps_per_epoch=1,
        total_steps=1,
    )
    assert method.fit(context)
    return criterion.double(), model


def objective(criterion: nn.Module, data: Images, weight: Tensor, bias: Tensor, l2: float) -> float:
    logits = data.images.flatten(1).double() @ weight.double().T + bias.double()
    return (criterion(logits, data.labels) + l2 / 2 * weight.double().square().sum()).item()


@pytest.mark.parametrize("balanced", [False, True], ids=["plain", "balanced"])
@pytest.mark.parametrize("l2", [1e-5, 1e-2])
def test_it_finds_scikit_learns_minimum(l2: float, balanced: bool) -> None:
    data = Images()
    criterion, model = solved(data, l2, balanced)
    inputs, labels = data.images.flatten(1).double().numpy(), data.labels.numpy()
    other = LogisticRegression(
        C=1 / (len(labels) * l2), class_weight="balanced" if balanced else None, tol=1e-9, max_iter=20_000
    ).fit(inputs, labels)
    reference = objective(criterion, data, torch.from_numpy(other.coef_), torch.from_numpy(other.intercept_), l2)
    found = objective(criterion, data, model.head.weight, model.head.bias, l2)
    assert found == pytest.approx(reference, abs=1e-5)
    assert found <= reference + 1e-7
    reached = torch.from_numpy(other.predict_proba(inputs))
    assert torch.allclose(model(data.images).double().softmax(1), reached, atol=1e-3)


@pytest.mark.parametrize("balanced", [False, True], ids=["plain", "balanced"])
def test_several_labels_an_image_are_independent_problems(balanced: bool) -> None:
    data, l2 = Images(), 1e-3
    digit = data.labels[:, None]
    # Of class k is every digit that k + 2 divides; 0 is of all, and no other of classes 8 and 9.
    data.labels = (digit % torch.arange(2, CLASSES + 2) == 0).long()
    criterion, model = solved(data, l2, balanced)
    inputs = data.images.flatten(1).double().numpy()
    weights, biases = [], []
    for borne in data.labels.T.numpy():
        weight = {0: 1.0, 1: float((1 - borne).sum() / borne.sum()) if balanced else 1.0}
        strength = 1 / (len(borne) * l2 * CLASSES)
        one = LogisticRegression(C=strength, class_weight=weight, tol=1e-9, max_iter=20_000).fit(inputs, borne)
        weights.append(one.coef_[0])
        biases.append(one.intercept_[0])
    reference = objective(criterion, data, torch.tensor(np.array(weights)), torch.tensor(np.array(biases)), l2)
    found = objective(criterion, data, model.head.weight, model.head.bias, l2)
    assert found == pytest.approx(reference, abs=1e-5)
    assert found <= reference + 1e-7


def test_smoothed_labels_are_fitted_as_they_are() -> None:
    data = Images()
    criterion, model = solved(data, 1e-4, balanced=False, smoothing=0.2)
    weight, bias = (p.detach().double().requires_grad_() for p in (model.head.weight, model.head.bias))
    logits = data.images.flatten(1).double() @ weight.T + bias
    loss = criterion(logits, data.labels) + 0.5e-4 * weight.square().sum()
    gradients = torch.autograd.grad(loss, [weight, bias])
    # Zero but for the rounding of the head to float32.
    assert max(g.abs().max().item() for g in gradients) < 1e-6
    assert loss.item() < objective(criterion, data, 0.99 * weight.detach(), bias.detach(), 1e-4)


def test_a_trial_is_over_after_the_solution_and_repeats_exactly(tmp_path: Path, digits: Digits) -> None:
    made = job(digits, "linear_probe", hp={"solver": "lbfgs", "l2": 1e-3}, train={"class_weights": "balanced"})
    first, result = run(made, tmp_path / "a")
    assert result["status"] == "done", result
    assert (result["epochs"], result["steps"], result["best_epoch"]) == (3, 0, 0)
    second, _ = run(made, tmp_path / "b")
    assert trial_differences(first, second) == []


def test_the_solver_is_off_unless_asked_for() -> None:
    hp: dict[str, Any] = defaults(LinearProbe.space)
    method, model = LinearProbe(), random_network()
    method.adapt(model, hp)
    assert hp["solver"] == "sgd" and not method.fit(None)
    assert violations(LinearProbe, hp={"solver": "lbfgs"}) == []
    with pytest.raises(ValueError, match=r"^linear_probe: l2=0 must be above 0$"):
        method.adapt(model, {**hp, "solver": "lbfgs", "l2": 0.0})
