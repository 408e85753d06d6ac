"""The built-in metrics that a sweep asks for: by scikit-learn or by hand, with the derivative by each case's weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.logits import softmax
from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases
from harness.metrics.table import built_in, evaluate, fit_on_validation, known_metrics, standard

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Weighted = Callable[[Floats], float]

STEP = 1e-4
RATES = ("macro_specificity", "macro_ppv", "macro_npv", "macro_f2")


def value_of(name: str, logits: Floats, labels: Ints) -> float | None:
    metric = built_in()[name]
    if labels.ndim == 2:
        return metric.multi_label_value(MultiLabelCases(logits, labels))
    return metric.value(ScoredCases(logits, labels))


def influence_of(name: str, logits: Floats, labels: Ints) -> Floats:
    """What each case adds to the metric, by its case values."""
    metric = built_in()[name]
    if labels.ndim == 2:
        found = metric.multi_label_case_values(RepeatedMultiLabelCases(logits[None], labels))
    else:
        found = metric.case_values(RepeatedCases(logits[None], labels))
    value = value_of(name, logits, labels)
    assert found is not None and value is not None, name
    return np.asarray(found[0] - value)


def by_differences(weighted: Weighted, cases: int) -> Floats:
    """The same for a little more and a little less weight of each case, times the number of cases."""
    ones, steps = np.ones(cases), STEP * np.eye(cases)
    return np.array([cases * (weighted(ones + step) - weighted(ones - step)) / (2 * STEP) for step in steps])


def by_class(name: str, truth: npt.NDArray[Any], called: npt.NDArray[Any], weights: Floats | None = None) -> float:
    """A rate of one class by scikit-learn."""
    match name:
        case "macro_specificity":
            return float(reference.recall_score(~truth, ~called, sample_weight=weights))
        case "macro_ppv":
            return float(reference.precision_score(truth, called, sample_weight=weights))
        case "macro_npv":
            return float(reference.precision_score(~truth, ~called, sample_weight=weights))
        case "macro_f2":
            return float(reference.fbeta_score(truth, called, beta=2, sample_weight=weights))
        case _:
            raise AssertionError(name)


def some_cases(seed: int, classes: int, several: bool, ties: bool = False) -> tuple[Floats, Ints]:
    """Cases of which each class has some, and to each of which some are predicted to belong."""
    rng = np.random.default_rng(seed)
    every = np.tile(np.eye(classes, dtype=np.int64), (2, 1))
    if several:
        labels = np.concatenate([every, 1 - every, rng.integers(0, 2, (12, classes))])
        logits = rng.normal(size=labels.shape) + 2.0 * labels - 1.0
        logits[: 2 * classes] = 9.0 * labels[: 2 * classes] - 4.0
    else:
        labels = np.concatenate([every.argmax(axis=1), rng.integers(0, classes, 14)])
        logits = rng.normal(size=(len(labels), classes)) + np.eye(classes)[labels]
        logits[:classes] += 9.0 * np.eye(classes)[labels[:classes]]
    return (logits.round() if ties else logits), labels


def columns(logits: Floats, labels: Ints) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], Floats]]:
    """Truth, call and score of each class."""
    if labels.ndim == 2:
        return [(labels[:, k] == 1, logits[:, k] > 0, logits[:, k]) for k in range(logits.shape[1])]
    scores, called = softmax(logits), logits.argmax(axis=1)
    return [(labels == k, called == k, scores[:, k]) for k in range(logits.shape[1])]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5), several=st.booleans(), ties=st.booleans())
def test_average_precision_and_rates_are_those_of_scikit_learn(
    seed: int, classes: int, several: bool, ties: bool
) -> None:
    logits, labels = some_cases(seed, classes, several, ties)
    own = columns(logits, labels)
    for name in RATES:
        wanted = np.mean([by_class(name, truth, called) for truth, called, _ in own])
        assert value_of(name, logits, labels) == pytest.approx(wanted, abs=1e-12), name
    truth, scores = (np.stack([one[place] for one in own], axis=1) for place in (0, 2))
    found = value_of("average_precision", logits, labels)
    assert found == pytest.approx(reference.average_precision_score(truth, scores, average="macro"), abs=1e-12)


@pytest.mark.parametrize(("seed", "classes", "several", "ties"), [(1, 3, False, True), (2, 2, True, False)])
def test_their_case_values_are_derivatives(seed: int, classes: int, several: bool, ties: bool) -> None:
    logits, labels = some_cases(seed, classes, several, ties)
    own = columns(logits, labels)

    def precision(weights: Floats) -> float:
        ranked = [reference.average_precision_score(truth, score, sample_weight=weights) for truth, _, score in own]
        return float(np.mean(ranked))

    def rate(weights: Floats, name: str) -> float:
        return float(np.mean([by_class(name, truth, called, weights) for truth, called, _ in own]))

    wanted = by_differences(precision, len(labels))
    np.testing.assert_allclose(influence_of("average_precision", logits, labels), wanted, atol=1e-5)
    for name in RATES:
        wanted = by_differences(lambda weights, name=name: rate(weights, name), len(labels))  # type: ignore[misc]
        np.testing.assert_allclose(influence_of(name, logits, labels), wanted, atol=1e-5, err_msg=name)


def test_average_precision_by_hand() -> None:
    # In the order of scores + + - +: precisions 1, 1 and 3/4 of class 1. For class 0 it is - + - -: 1/2.
    logits = np.array([[0.0, 4.0], [0.0, 3.0], [0.0, 2.0], [0.0, 1.0]])
    labels = np.array([1, 1, 0, 1])
    metric = built_in()["average_precision"]
    assert metric.per_class(ScoredCases(logits, labels)) == pytest.approx([1 / 2, 11 / 12])
    # Scores that are all alike are one threshold, with the share of the class.
    assert metric.per_class(ScoredCases(np.zeros((4, 2)), np.array([0, 1, 0, 0]))) == [0.75, 0.25]


def test_rates_by_hand_and_what_leaves_them_undefined() -> None:
    # Confusion [[2, 1], [1, 4]].
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    called = np.array([0, 0, 1, 0, 1, 1, 1, 1])
    logits = np.eye(2)[called]
    found = {name: value_of(name, logits, labels) for name in RATES}
    assert found == pytest.approx(
        {
            "macro_specificity": (4 / 5 + 2 / 3) / 2,
            "macro_ppv": (2 / 3 + 4 / 5) / 2,
            "macro_npv": (4 / 5 + 2 / 3) / 2,
            "macro_f2": (10 / 15 + 20 / 25) / 2,
        }
    )
    # Class 2 has no case and is never called; of class 0 in the second one there is no other case.
    for wide, own, undefined in (
        (np.pad(logits, ((0, 0), (0, 1)), constant_values=-9.0), labels, {"macro_ppv", "macro_f2"}),
        (logits[:3], labels[:3], {"macro_specificity", "macro_f2"}),
        (np.eye(2)[[1, 1]], np.array([0, 1]), {"macro_ppv", "macro_npv"}),
    ):
        found = {name: value_of(name, wide, own) for name in RATES}
        assert {name for name, value in found.items() if value is None} == undefined
        for name in RATES:
            values = built_in()[name].case_values(RepeatedCases(wide[None], own))
            assert (values is None) == (name in undefined), name
    assert value_of("average_precision", logits[:3], labels[:3]) is None


def test_with_several_labels_a_label_that_nobody_or_everybody_has_has_no_average_precision() -> None:
    logits = np.array([[2.0, 1.0], [-1.0, 1.0], [3.0, -2.0]])
    for column in ([0, 0, 0], [1, 1, 1]):
        labels = np.stack([[1, 0, 1], column], axis=1)
        assert built_in()["average_precision"].per_class(MultiLabelCases(logits, labels)) == [1.0, None]
        assert value_of("average_precision", logits, labels) is None


def test_a_trial_computes_none_of_them_unasked() -> None:
    logits, labels = np.eye(2), np.arange(2)
    plain = evaluate(logits, labels)
    asked = [metric for metric in built_in().values() if metric.on_request]
    assert len(asked) == len(built_in()) - len(standard()) > 0
    further = evaluate(logits, labels, further=asked, fitted=fit_on_validation(logits, labels, asked))
    assert list(further)[: len(plain)] == list(plain)
    assert further.keys() - plain.keys() >= {metric.name for metric in asked}
    assert not {metric.name for metric in asked} & plain.keys()


def test_what_a_study_recorded_of_them_is_said_as_of_a_built_in_metric() -> None:
    record = built_in()["average_precision"].facts().to_json()
    facts = known_metrics([record])["average_precision"]
    assert not facts.recorded_only and facts.pseudo_values == "average precision"
    assert "average_precision" not in known_metrics()
