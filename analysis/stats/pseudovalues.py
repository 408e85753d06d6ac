"""Metrics as means over cases: pseudo-values whose mean over the cases is the metric, exactly.

A difference of two methods' pseudo-values goes into the two-way interval as a difference of correctness does. Their
spread over cases is that of the metric to first order; for the AUC it is the variance of DeLong, DeLong and
Clarke-Pearson 1988 exactly, and that of Obuchowski 1997 where cases share a patient and each patient has one class.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import absent_class, refuse
from analysis.stats.estimate import FloatArray, finite

IntArray = npt.NDArray[np.int64]


def accuracy_values(correct: npt.ArrayLike) -> FloatArray:
    """1 where a case is classified correctly, else 0.

    Args:
        correct: shape (seeds, cases), truth values.
    """
    return finite(correct, 2)


def balanced_accuracy_values(correct: npt.ArrayLike, labels: IntArray, classes: int) -> FloatArray:
    """Pseudo-values of the mean recall over classes: ``b + (c - recall_k) n / (K n_k)`` for a case of class k.

    Args:
        correct: shape (seeds, cases), truth values.
        labels: shape (cases,), in [0, classes).
        classes: K, the fixed number of classes.

    Returns:
        Shape (seeds, cases), float64; each row's mean is that seed's balanced accuracy.

    Raises:
        Refused: a class without a case.
        ValueError: shapes that do not fit, or a label out of range.
    """
    hits = finite(correct, 2)
    support = _support(labels, classes, hits.shape[1])
    member = np.eye(classes)[labels]
    recall = hits @ member / support
    mean = recall.mean(axis=1, keepdims=True)
    result: FloatArray = mean + (hits - recall[:, labels]) * (hits.shape[1] / (classes * support[labels]))
    return result


def auc_values(scores: npt.ArrayLike, labels: IntArray, groups: IntArray | None = None) -> FloatArray:
    """Pseudo-values of the unweighted mean over classes of the one-versus-rest AUC.

    For a class with n1 cases and n0 others: ``A + c1 (V10 - A) n / n1`` for its own cases, ``A + c0 (V01 - A) n / n0``
    for the others, where V10 is the fraction of others with a lower score, V01 the fraction of own cases with a higher
    one, equal scores counting one half. The factors ``c1² = (1 - 1 / n) n1 / (n1 - 1)`` and ``c0`` likewise make
    the variance over all n that of DeLong, ``S10 / n1 + S01 / n0``, with each sum of squares over its own degrees of
    freedom. With groups they count groups in the place of cases.

    Args:
        scores: shape (seeds, cases, classes), finite. The metric of a trial uses softmax probabilities: one against
            the rest does not give the same on logits.
        labels: shape (cases,), in [0, classes).
        groups: shape (cases,), the patient or lesion of each case; every case is its own if None.

    Returns:
        Shape (seeds, cases), float64; each row's mean is that seed's AUC.

    Raises:
        Refused: a class without a case, or with all of them.
        ValueError: shapes that do not fit, or a label out of range.
    """
    scores = finite(scores, 3)
    _, cases, classes = scores.shape
    _support(labels, classes, cases)
    total = sum(_one_class(scores[:, :, k], labels == k, groups) for k in range(classes))
    result: FloatArray = np.asarray(total) / classes
    return result


def _own_freedom(own: npt.NDArray[np.bool_], groups: IntArray | None) -> FloatArray:
    """Factor of each case's distance from the AUC, shape (cases,).

    A class with a single case or group shows no spread of its own: its distance is zero, or there is no estimate.
    """
    everyone = len(own) if groups is None else len(np.unique(groups))
    factors = np.ones(len(own))
    for side in (own, ~own):
        units = int(side.sum()) if groups is None else len(np.unique(groups[side]))
        if units > 1:
            factors[side] = np.sqrt((1 - 1 / everyone) * units / (units - 1))
    return factors


def _one_class(score: FloatArray, own: npt.NDArray[np.bool_], groups: IntArray | None) -> FloatArray:
    """Pseudo-values of the AUC of one class, shape (seeds, cases) like the scores."""
    n = score.shape[1]
    n1 = int(own.sum())
    n0 = n - n1
    order = np.argsort(score, axis=1)
    ordered, mine = np.take_along_axis(score, order, axis=1), own[order]
    # Each case's run of equal scores, from its first to its last place in the order.
    place, edge = np.arange(n), np.ones((len(score), 1), dtype=bool)
    steps = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(np.hstack([edge, steps]), place, 0), axis=1)
    last = np.minimum.accumulate(np.where(np.hstack([steps, edge]), place, n)[:, ::-1], axis=1)[:, ::-1]
    others = np.hstack([~edge, ~mine]).cumsum(axis=1)
    lower_others = (np.take_along_axis(others, first, axis=1) + np.take_along_axis(others, last + 1, axis=1)) / 2
    lower_own = (first + last + 1) / 2 - lower_others
    fraction = np.where(mine, lower_others / n0, 1.0 - lower_own / n1)
    area = np.where(mine, fraction, 0.0).sum(axis=1, keepdims=True) / n1
    values = np.empty_like(score)
    weight = np.where(own, n / n1, n / n0) * _own_freedom(own, groups)
    np.put_along_axis(values, order, area + (fraction - area) * weight[order], axis=1)
    return values


def _support(labels: IntArray, classes: int, cases: int) -> FloatArray:
    labels = np.asarray(labels)
    if labels.shape != (cases,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels need {cases} whole numbers, got {labels.dtype} of shape {labels.shape}")
    if classes < 2 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in [0, {classes}) and there must be two classes")
    counts = np.bincount(labels, minlength=classes)
    refuse(absent_class({f"class {k}": int(count) for k, count in enumerate(counts)}))
    return counts.astype(np.float64)
