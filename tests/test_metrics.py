from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import METRICS, evaluate, softmax

# Ten cases of three classes. The values were computed with scikit-learn from these probabilities, ECE and the
# Brier score from their definitions.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PROBABILITIES = np.array(
    [
        [0.71, 0.19, 0.10],
        [0.62, 0.28, 0.10],
        [0.41, 0.49, 0.10],
        [0.83, 0.09, 0.08],
        [0.18, 0.72, 0.10],
        [0.29, 0.43, 0.28],
        [0.52, 0.31, 0.17],
        [0.11, 0.18, 0.71],
        [0.21, 0.48, 0.31],
        [0.09, 0.12, 0.79],
    ]
)
KNOWN = {
    "accuracy": 0.7,
    "balanced_accuracy": 0.6944444444444443,
    "macro_f1": 0.7071428571428572,
    "mcc": 0.5539117094069973,
    "kappa": 0.5454545454545454,
    "kappa_quadratic": 0.7619047619047619,
    "auc": 0.9226190476190476,
    "auc_per_class": [0.9583333333333334, 0.8095238095238095, 1.0],
    "nll": 0.5991506550105352,
    "brier": 0.3334,
    "ece": 0.3680000000000001,
    "sensitivity": [0.75, 0.6666666666666666, 0.6666666666666666],
    "specificity": [0.8333333333333334, 0.7142857142857143, 1.0],
    "support": [4, 3, 3],
    "confusion": [[3, 1, 0], [1, 2, 0], [0, 1, 2]],
}


def test_known_answers() -> None:
    result = evaluate(np.log(PROBABILITIES), LABELS, ordinal=True)
    assert result.keys() == KNOWN.keys()
    for name, expected in KNOWN.items():
        np.testing.assert_allclose(np.array(result[name]), np.array(expected), atol=1e-9, err_msg=name)
    assert {name for name in result if isinstance(result[name], float)} == METRICS.keys()
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_quadratic_kappa_is_for_ordinal_classes_only() -> None:
    assert "kappa_quadratic" not in evaluate(np.log(PROBABILITIES), LABELS)


def test_agrees_with_scikit_learn_on_random_cases_with_ties() -> None:
    from sklearn import metrics as reference

    rng = np.random.default_rng(20240901)
    for _ in range(100):
        classes = int(rng.integers(2, 7))
        n = int(rng.integers(classes, 80))
        labels = rng.permutation(np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)]))
        logits = rng.normal(size=(n, classes)) * rng.uniform(0.1, 20)
        if rng.random() < 0.5:
            logits = logits.round()
        proba, predicted = softmax(logits), logits.argmax(axis=1)
        one_hot = np.eye(classes)[labels]
        names = np.arange(classes)
        expected = {
            "accuracy": reference.accuracy_score(labels, predicted),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
            "auc_per_class": reference.roc_auc_score(one_hot, proba, average=None),
            "auc": reference.roc_auc_score(one_hot, proba, average="macro"),
            "macro_f1": reference.f1_score(labels, predicted, labels=names, average="macro"),
            "mcc": reference.matthews_corrcoef(labels, predicted),
            "kappa": reference.cohen_kappa_score(labels, predicted, labels=names),
            "kappa_quadratic": reference.cohen_kappa_score(labels, predicted, labels=names, weights="quadratic"),
            "brier": np.mean(np.sum((proba - one_hot) ** 2, axis=1)),
            "sensitivity": reference.recall_score(labels, predicted, labels=names, average=None),
            "confusion": reference.confusion_matrix(labels, predicted, labels=names),
        }
        result = evaluate(logits, labels, ordinal=True)
        for name, value in expected.items():
            np.testing.assert_allclose(np.array(result[name]), np.array(value), atol=1e-9, err_msg=name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clipped = reference.log_loss(labels, proba, labels=names)
        if proba[np.arange(n), labels].min() > 1e-12:
            np.testing.assert_allclose(result["nll"], clipped, rtol=1e-9)


def test_an_absent_class_leaves_values_undefined() -> None:
    # Class 2 has no case, but one is called so: averaging its F1 of 0 in, or leaving it out, both mislead.
    logits = np.array([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0]])
    result = evaluate(logits, np.array([0, 1, 1, 0]), ordinal=True)
    assert result["support"] == [2, 2, 0]
    assert result["sensitivity"] == [1.0, 0.5, None]
    assert result["specificity"] == [1.0, 1.0, 0.75]
    assert result["auc_per_class"][2] is None
    assert [result[name] for name in ("balanced_accuracy", "auc", "macro_f1")] == [None, None, None]
    assert result["accuracy"] == 0.75
    assert result["kappa"] == pytest.approx(0.6)


def test_a_single_class_leaves_agreement_undefined_and_a_constant_prediction_does_not() -> None:
    one_class = evaluate(np.array([[1.0, 0], [2, 0]]), np.array([0, 0]))
    assert (one_class["mcc"], one_class["kappa"]) == (None, None)
    assert one_class["specificity"] == [None, 1.0]
    constant = evaluate(np.array([[1.0, 0], [2, 0]]), np.array([0, 1]))
    assert (constant["mcc"], constant["kappa"]) == (0.0, 0.0)


def test_confident_logits_keep_their_order() -> None:
    # In float32 both probabilities are 1 and the AUC would be 0.5.
    result = evaluate(np.array([[0.0, 18.0], [0, 20]]), np.array([0, 1]))
    assert result["auc"] == 1.0
    assert result["nll"] == pytest.approx((18 + 2.061e-9) / 2, rel=1e-9)


def test_ece_closes_its_last_bin() -> None:
    # A wrong case of confidence 1 and a right one of 0.95 share the last bin; with a bin of its own for 1 the
    # result would be 0.525.
    logits = np.array([[800.0, 0], [np.log(0.95), np.log(0.05)]])
    assert evaluate(logits, np.array([1, 0]))["ece"] == pytest.approx(0.475, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-1e3, 1e3))
def test_case_order_and_a_common_shift_change_nothing(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.integers(-3, 4, (20, 3)).astype(float), rng.integers(0, 3, 20)
    order = rng.permutation(20)
    first, second = evaluate(logits, labels), evaluate(logits[order] + round(shift), labels[order])
    for name, value in first.items():
        np.testing.assert_allclose(
            np.array(second[name], dtype=float), np.array(value, dtype=float), atol=1e-9, err_msg=name
        )


Bad = tuple[npt.NDArray[Any], npt.NDArray[Any], str]


@pytest.mark.parametrize(
    "bad",
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "with a case"),
        (np.zeros((2, 1)), np.zeros(2, dtype=int), "two classes"),
        (np.zeros((2, 2)), np.zeros(3, dtype=int), "2 whole numbers"),
        (np.zeros((2, 2)), np.zeros(2), "2 whole numbers"),
        (np.zeros((2, 2)), np.array([0, 2]), r"\[0, 2\), got 0 to 2"),
        (np.array([[0.0, np.nan]]), np.array([0]), "not finite"),
    ],
    ids=lambda bad: bad[2],
)
def test_wrong_input_is_refused(bad: Bad) -> None:
    with pytest.raises(ValueError, match=bad[2]):
        evaluate(bad[0], bad[1])
