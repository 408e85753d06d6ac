"""Calibration slope and intercept, and net benefit: by hand, by a regression, and the derivative by each weight."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.repeated import RepeatedCases
from harness.metrics.table import built_in
from tests.metrics.test_on_request import by_differences, influence_of, value_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SLOPE, INTERCEPT = "calibration_slope_error", "calibration_intercept_error"
EVERY = (SLOPE, INTERCEPT, "net_benefit_10", "net_benefit_20")


def two(logit: Floats | list[float]) -> Floats:
    """Logits of two classes, whose difference is that of the second class's probability."""
    given = np.asarray(logit, dtype=np.float64)
    return np.stack([0.3 * given, 1.3 * given], axis=1)


def some_cases(seed: int, n: int = 40) -> tuple[Floats, Ints]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3 == 0).astype(np.int64)
    return 1.5 * rng.normal(size=n) + 2.0 * labels - 0.2, labels


def fitted(logit: Floats, labels: Ints, weights: Floats) -> float:
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-14, max_iter=1000)
    return float(model.fit(logit[:, None], labels, sample_weight=weights).coef_[0, 0])


def shifted(logit: Floats, labels: Ints, weights: Floats) -> float:
    return float(brentq(lambda a: float((weights * (expit(logit + a) - labels)).sum()), -20.0, 20.0, xtol=1e-14))


def test_by_hand() -> None:
    # Of four cases with a logit of c three are of the second class, with -c one is: the fit gives log 3 and -log 3.
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    sides = np.repeat([1.0, -1.0], 4)
    for c in (0.5, 1.0, 2.0):
        assert value_of(SLOPE, two(c * sides), labels) == pytest.approx(abs(math.log(3) / c - 1), abs=1e-9)
        assert value_of(INTERCEPT, two(c * sides), labels) == pytest.approx(0.0, abs=1e-9)
    # Worse than chance, the slope is negative.
    assert value_of(SLOPE, two(-sides), labels) == pytest.approx(math.log(3) + 1, abs=1e-9)
    # A logit of 1 for everyone, where three of four are of the second class.
    assert value_of(INTERCEPT, two(np.ones(4)), np.array([1, 0, 1, 1])) == pytest.approx(math.log(3) - 1, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_slope_and_intercept_are_those_of_a_logistic_regression(seed: int) -> None:
    logit, labels = some_cases(seed)
    ones = np.ones(len(labels))
    assert value_of(SLOPE, two(logit), labels) == pytest.approx(abs(fitted(logit, labels, ones) - 1), abs=1e-7)
    assert value_of(INTERCEPT, two(logit), labels) == pytest.approx(abs(shifted(logit, labels, ones)), abs=1e-9)


@pytest.mark.parametrize("scale", [0.4, 3.0])
def test_their_case_values_are_derivatives(scale: float) -> None:
    logit, labels = some_cases(7, 30)
    logit = scale * logit
    ideals = {SLOPE: (fitted, 1.0), INTERCEPT: (shifted, 0.0)}
    for name, (fit, ideal) in ideals.items():
        wanted = by_differences(lambda weights, fit=fit, ideal=ideal: abs(fit(logit, labels, weights) - ideal), 30)  # type: ignore[misc]
        np.testing.assert_allclose(influence_of(name, two(logit), labels), wanted, atol=1e-4, err_msg=name)


def test_confident_predictions_round_nothing_to_zero() -> None:
    # What three right cases lack of 1 is what the fourth has more than 0, if a is half the log of their odds.
    labels = np.array([1, 1, 1, 0])
    logit = np.where(labels == 1, 800.0, -800.0)
    assert value_of(INTERCEPT, two(logit), labels) == pytest.approx(math.log(3) / 2, abs=1e-9)
    values = built_in()[INTERCEPT].case_values(RepeatedCases(two(logit)[None], labels))
    assert values is not None and np.isfinite(values).all()
    # One case of each class is on the other side, and as far away.
    labels, logit = np.array([1, 1, 1, 0, 1, 0, 0, 0]), np.repeat([700.0, -700.0], 4)
    assert value_of(SLOPE, two(logit), labels) == pytest.approx(1 - math.log(3) / 700, abs=1e-9)


@pytest.mark.parametrize(
    ("logits", "labels", "undefined"),
    [
        (two([-2.0, -1.0, 1.0, 2.0]), [0, 0, 1, 1], {SLOPE}),
        (two([-2.0, 1.0, 1.0, 2.0]), [0, 0, 1, 1], {SLOPE}),
        (two([-2.0, -1.0, 1.0, 2.0]), [1, 1, 0, 0], {SLOPE}),
        (two([0.5, 0.5, 0.5, 0.5]), [0, 1, 0, 1], {SLOPE}),
        (two([-2.0, 1.0, 3.0, 2.0]), [1, 1, 1, 1], {SLOPE, INTERCEPT}),
        (np.eye(3)[[0, 1, 2, 1]], [0, 1, 2, 2], set(EVERY)),
    ],
    ids=["separated", "a tie between", "the wrong way round", "constant", "one class", "three classes"],
)
def test_what_leaves_them_undefined(logits: Floats, labels: list[int], undefined: set[str]) -> None:
    own = np.array(labels)
    assert {name for name in EVERY if value_of(name, logits, own) is None} == undefined
    for name in EVERY:
        assert (built_in()[name].case_values(RepeatedCases(logits[None], own)) is None) == (name in undefined), name


def test_net_benefit_by_hand() -> None:
    probability = np.array([0.05, 0.1, 0.15, 0.3, 0.6, 0.02, 0.25, 0.9, 0.199, 0.01])
    labels = np.array([0, 0, 1, 0, 1, 1, 0, 1, 0, 0])
    # From 10 % on treated: 3 of the second class and 4 of the first; from 20 % on 2 and 2.
    logits = np.log(np.stack([1 - probability, probability], axis=1))
    logits[1] = [0.0, math.log(0.1 / 0.9) + 1e-12]
    assert value_of("net_benefit_10", logits, labels) == pytest.approx(0.3 - 0.4 / 9)
    assert value_of("net_benefit_20", logits, labels) == pytest.approx(0.2 - 0.2 / 4)
    values = built_in()["net_benefit_20"].case_values(RepeatedCases(logits[None], labels))
    assert values is not None
    assert values[0] == pytest.approx([0, 0, 0, -0.25, 1, 0, -0.25, 1, 0, 0])
    # To treat everyone is worth the share of the class less that of the others at the odds of the threshold.
    assert value_of("net_benefit_10", np.zeros((10, 2)), labels) == pytest.approx(0.4 - 0.6 / 9)


def test_with_several_labels_they_are_means_over_the_labels() -> None:
    pairs = [some_cases(seed) for seed in (1, 2, 3)]
    logits, labels = np.stack([logit for logit, _ in pairs], axis=1), np.stack([own for _, own in pairs], axis=1)
    for name in EVERY:
        alone = [value for value in (value_of(name, two(logit), own) for logit, own in pairs) if value is not None]
        assert built_in()[name].multi_label_value(MultiLabelCases(logits, labels)) == pytest.approx(sum(alone) / 3)
        assert built_in()[name].value(ScoredCases(two(logits[:, 0]), labels[:, 0])) == pytest.approx(alone[0])
