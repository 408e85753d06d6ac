"""Values of single cases: their mean is the metric, and they are its derivative in the weight of each case."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from analysis.stats.twoway import by_group, two_way
from harness.metrics.logits import sigmoid, softmax
from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases
from harness.metrics.table import built_in, evaluate, known_by_case

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ORDINAL = "kappa_quadratic"
STEP = 1e-4


def values_of(name: str, logits: Floats, labels: Ints, groups: Ints | None = None) -> Floats | None:
    metric = built_in()[name]
    if labels.ndim == 2:
        return metric.multi_label_case_values(RepeatedMultiLabelCases(logits, labels, groups))
    return metric.case_values(RepeatedCases(logits, labels, groups))


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cases=st.integers(2, 60),
    classes=st.integers(2, 5),
    spread=st.sampled_from([0.0, 0.5, 1.0, 30.0]),
    ties=st.booleans(),
    several=st.booleans(),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    size=st.integers(1, 4),
)
def test_the_mean_over_the_cases_is_the_metric(
    seed: int, cases: int, classes: int, spread: float, ties: bool, several: bool, share: float, size: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(3, cases, classes)) * spread
    logits = logits.round() if ties else logits
    if several:
        labels = (rng.random((cases, classes)) < share).astype(np.int64)
    else:
        # Where the share is small, classes are often absent.
        labels = rng.integers(0, max(1, math.ceil(share * classes)), cases)
    groups = np.arange(cases) // size
    asked = [metric for metric in known_by_case().values() if metric.on_request]
    expected = [evaluate(own, labels, ordinal=not several, further=asked) for own in logits]
    for name in known_by_case():
        if several and name == ORDINAL:
            continue
        found, wanted = values_of(name, logits, labels, groups), [one[name] for one in expected]
        if found is None:
            assert None in wanted, name
            continue
        assert found.shape == (3, cases) and found.dtype == np.float64, name
        # Where two confident cases contradict each other, values of 10^8 cancel, as far as float64 holds them.
        near = 1e-12 + 1e-15 * float(np.abs(found).max())
        np.testing.assert_allclose(found.mean(axis=1), wanted, atol=near, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(by_group(found, groups).mean(axis=1), wanted, atol=near, rtol=1e-12, err_msg=name)
        if groups[-1] > 0:
            assert two_way(found, groups).estimate == pytest.approx(np.mean(wanted), abs=near), name


def weighted(name: str, logits: Floats, labels: Ints, weights: Floats) -> float:
    """A metric of cases that count differently: by scikit-learn, and what that does not have, by hand."""
    proba = softmax(logits)
    predicted, classes = logits.argmax(axis=1), range(logits.shape[1])
    with warnings.catch_warnings():
        # A constant prediction has an MCC of 0, and scikit-learn says so.
        warnings.simplefilter("ignore")
        match name:
            case "balanced_accuracy":
                return float(reference.balanced_accuracy_score(labels, predicted, sample_weight=weights))
            case "macro_f1":
                arguments: dict[str, Any] = {"average": "macro", "labels": classes, "sample_weight": weights}
                return float(reference.f1_score(labels, predicted, **arguments))
            case "mcc":
                return float(reference.matthews_corrcoef(labels, predicted, sample_weight=weights))
            case "kappa" | "kappa_quadratic":
                kind = "quadratic" if name == ORDINAL else None
                return float(reference.cohen_kappa_score(labels, predicted, weights=kind, sample_weight=weights))
            case "ece":
                return weighted_ece(proba.max(axis=1), predicted == labels, weights)
            case _:
                raise AssertionError(name)


def weighted_ece(probability: Floats, occurred: npt.NDArray[np.bool_], weights: Floats) -> float:
    edges = np.linspace(0, 1, 16)[1:-1]
    bins = np.digitize(probability, edges)
    gaps = [(weights * (occurred - probability))[bins == number].sum() for number in range(15)]
    return float(np.abs(gaps).sum() / weights.sum())


def influence_by_differences(name: str, logits: Floats, labels: Ints) -> Floats:
    """Change of the metric for a little more and a little less weight of each case, times the number of cases."""
    found = []
    for case in range(len(labels)):
        up, down = np.ones(len(labels)), np.ones(len(labels))
        up[case], down[case] = 1 + STEP, 1 - STEP
        change = weighted(name, logits, labels, up) - weighted(name, logits, labels, down)
        found.append(len(labels) * change / (2 * STEP))
    return np.array(found)


SMOOTH = ("balanced_accuracy", "macro_f1", "mcc", "kappa", "kappa_quadratic", "ece")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 4), skill=st.sampled_from([0.0, 1.0, 3.0]))
def test_they_are_the_derivative_by_the_weight_of_a_case(seed: int, classes: int, skill: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.concatenate([np.arange(classes), np.arange(classes), rng.integers(0, classes, 20)]))
    logits = rng.normal(size=(len(labels), classes)) + skill * np.eye(classes)[labels]
    # The class that is never called is a case of its own: its F1 and its column of the confusion matrix are 0.
    logits[:, 0] -= rng.choice([0.0, 50.0])
    for name in SMOOTH:
        found = values_of(name, logits[None], labels)
        assert found is not None
        value = weighted(name, logits, labels, np.ones(len(labels)))
        influence = influence_by_differences(name, logits, labels)
        np.testing.assert_allclose(found[0] - value, influence, atol=1e-6, err_msg=name)


def test_with_several_labels_they_are_the_derivative_as_well() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random((40, 3)) < 0.4).astype(np.int64)
    logits = rng.normal(size=(40, 3)) + labels
    proba, predicted = sigmoid(logits), (logits > 0).astype(np.int64)

    def f1(weights: Floats) -> float:
        return float(reference.f1_score(labels, predicted, average="macro", sample_weight=weights))

    def ece(weights: Floats) -> float:
        return float(np.mean([weighted_ece(proba[:, k], labels[:, k] == 1, weights) for k in range(3)]))

    for name, metric in (("macro_f1", f1), ("ece", ece)):
        found = values_of(name, logits[None], labels)
        assert found is not None
        ones, steps = np.ones(40), STEP * np.eye(40)
        influence = [40 * (metric(ones + step) - metric(ones - step)) / (2 * STEP) for step in steps]
        np.testing.assert_allclose(found[0] - metric(ones), influence, atol=1e-6, err_msg=name)


def test_a_constant_prediction_has_an_mcc_of_zero_whatever_the_cases_weigh() -> None:
    labels = np.array([0, 0, 1, 2, 2])
    constant, mixed = np.tile([0.0, 5.0, 0.0], (5, 1)), np.eye(3)[[0, 1, 1, 2, 0]]
    found = values_of("mcc", np.stack([constant, mixed]), labels)
    assert found is not None
    assert (found[0] == 0.0).all()
    assert found[1].mean() == pytest.approx(evaluate(mixed, labels)["mcc"]) and np.ptp(found[1]) > 0.1


def test_a_class_without_a_case_is_no_obstacle_for_what_is_no_mean_over_classes() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1])
    logits = np.eye(3)[[0, 2, 1, 0, 0, 1]]
    for name in ("balanced_accuracy", "auc", "macro_f1"):
        assert values_of(name, logits[None], labels) is None, name
    for name in ("accuracy", "mcc", "kappa", "kappa_quadratic", "nll", "brier", "ece"):
        found = values_of(name, logits[None], labels)
        assert found is not None and found.mean() == pytest.approx(evaluate(logits, labels, True)[name]), name


def test_a_bin_whose_gaps_cancel_counts_nothing() -> None:
    # Two cases with confidence one half, one of them right.
    values = values_of("ece", np.zeros((1, 2, 2)), np.array([0, 1]))
    assert values is not None and values.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("logits", "labels", "complaint"),
    [
        (np.zeros((4, 2)), np.zeros(4, dtype=np.int64), "shape"),
        (np.zeros((2, 4, 1)), np.zeros(4, dtype=np.int64), "two classes"),
        (np.zeros((2, 4, 2)), np.zeros(3, dtype=np.int64), r"of shape \(4,\)"),
        (np.zeros((2, 4, 2)), np.full(4, 2), r"in \[0, 2\)"),
        (np.full((2, 4, 2), np.nan), np.zeros(4, dtype=np.int64), "not finite"),
    ],
)
def test_what_is_no_table_of_cases_is_refused(logits: Floats, labels: Ints, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        RepeatedCases(logits, labels)


def test_labels_of_several_that_are_neither_yes_nor_no_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or 1"):
        RepeatedMultiLabelCases(np.zeros((2, 4, 2)), np.full((4, 2), 2))
