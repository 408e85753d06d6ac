from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.logits import sigmoid, softmax
from harness.metrics.table import evaluate, standard

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
    assert {name for name in result if isinstance(result[name], float)} == standard().keys()
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


def test_several_labels_agree_with_scikit_learn_and_medmnist() -> None:
    from medmnist.evaluator import getACC, getAUC
    from sklearn import metrics as reference

    rng = np.random.default_rng(20240902)
    for _ in range(50):
        classes, n = int(rng.integers(2, 6)), int(rng.integers(4, 60))
        labels = rng.integers(0, 2, (n, classes))
        labels[0], labels[1] = 0, 1
        logits = rng.normal(size=(n, classes)) * rng.uniform(0.1, 5)
        if rng.random() < 0.5:
            logits = logits.round()
        proba, called = sigmoid(logits), (logits > 0).astype(int)
        columns = [(labels[:, k], called[:, k], proba[:, k]) for k in range(classes)]
        task = "multi-label, binary-class"
        expected = {
            "accuracy": getACC(labels, proba, task),
            "auc": getAUC(labels, proba, task),
            "auc_per_class": reference.roc_auc_score(labels, proba, average=None),
            "balanced_accuracy": np.mean([reference.balanced_accuracy_score(y, c) for y, c, _ in columns]),
            "macro_f1": reference.f1_score(labels, called, average="macro", zero_division=0),
            "mcc": np.mean([reference.matthews_corrcoef(y, c) for y, c, _ in columns]),
            "kappa": np.mean([reference.cohen_kappa_score(y, c, labels=[0, 1]) for y, c, _ in columns]),
            "nll": np.mean([reference.log_loss(y, p) for y, _, p in columns]),
            "brier": np.mean([reference.brier_score_loss(y, p) for y, _, p in columns]),
            "sensitivity": reference.recall_score(labels, called, average=None, zero_division=0),
            "specificity": reference.recall_score(1 - labels, 1 - called, average=None, zero_division=0),
            "confusion": reference.multilabel_confusion_matrix(labels, called),
            "support": labels.sum(axis=0),
        }
        result = evaluate(logits, labels)
        for name, value in expected.items():
            np.testing.assert_allclose(np.array(result[name]), np.array(value), atol=1e-9, err_msg=name)
        assert result.keys() == KNOWN.keys() - {"kappa_quadratic"}
        assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_with_several_labels_ece_is_of_the_probability_of_each_class() -> None:
    # Two cases in one bin (0.8 and 0.82: 12/15 to 13/15), one in another; the second class is certain and right.
    logits = np.stack([logit(np.array([0.81, 0.82, 0.1])), np.array([800.0, -800.0, 800.0])], axis=1)
    result = evaluate(logits, np.array([[1, 1], [0, 0], [0, 1]]))
    assert result["ece"] == pytest.approx((abs(1 - 0.81 - 0.82) + 0.1) / 3 / 2)
    assert result["brier"] == pytest.approx((0.19**2 + 0.82**2 + 0.1**2) / 6)
    assert result["auc_per_class"] == [0.5, 1.0]


def logit(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(probability / (1 - probability)))


def test_with_several_labels_a_finding_that_nobody_or_everybody_has_leaves_values_undefined() -> None:
    logits = np.array([[2.0, 1.0], [-1.0, 1.0], [3.0, -2.0]])
    none = evaluate(logits, np.array([[1, 0], [0, 0], [1, 0]]))
    assert (none["sensitivity"], none["specificity"]) == ([1.0, None], [1.0, 1 / 3])
    assert none["auc_per_class"] == [1.0, None]
    every = evaluate(logits, np.array([[1, 1], [0, 1], [1, 1]]))
    assert (every["sensitivity"], every["specificity"]) == ([1.0, 2 / 3], [1.0, None])
    for result in (none, every):
        undefined = {name for name in standard() if result.get(name, 0.0) is None}
        assert undefined - {"macro_f1"} == {"balanced_accuracy", "auc", "mcc", "kappa"}
        assert result["accuracy"] is not None
    assert none["macro_f1"] is None
    assert every["macro_f1"] == pytest.approx((1 + 0.8) / 2)


@pytest.mark.parametrize("several", [True, False])
def test_scores_do_not_depend_on_how_a_table_lies_in_memory(several: bool) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        logits = rng.normal(size=(301, 5))
        labels = rng.integers(0, 2, (301, 5)) if several else rng.integers(0, 5, 301)
        assert evaluate(np.asfortranarray(logits), np.asfortranarray(labels)) == evaluate(logits, labels)


Bad = tuple[npt.NDArray[Any], npt.NDArray[Any], str]


@pytest.mark.parametrize(
    "bad",
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "with a case"),
        (np.zeros((2, 1)), np.zeros(2, dtype=int), "two classes"),
        (np.zeros((2, 2)), np.zeros(3, dtype=int), r"whole numbers of shape \(2,\)"),
        (np.zeros((2, 2)), np.zeros(2), r"whole numbers of shape \(2,\)"),
        (np.zeros((2, 2)), np.array([0, 2]), r"\[0, 2\), got 0 to 2"),
        (np.array([[0.0, np.nan]]), np.array([0]), "not finite"),
        (np.zeros((2, 3)), np.zeros((2, 2), dtype=int), r"of shape \(2, 3\), got int64 of \(2, 2\)"),
        (np.zeros((2, 2)), np.array([[0, 1], [2, 0]]), "0 or 1, got 0 to 2"),
        (np.array([[0.0, np.inf]]), np.array([[0, 1]]), "is not finite"),
    ],
    ids=lambda bad: bad[2],
)
def test_wrong_input_is_refused(bad: Bad) -> None:
    with pytest.raises(ValueError, match=bad[2]):
        evaluate(bad[0], bad[1])


def test_findings_have_no_order() -> None:
    with pytest.raises(ValueError, match="no order"):
        evaluate(np.zeros((2, 2)), np.zeros((2, 2), dtype=int), ordinal=True)
