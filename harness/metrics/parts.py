"""What metrics are made of: functions of a confusion matrix, and of one class's scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ECE_BINS = 15


def area_under_curve(score: FloatArray, positive: npt.NDArray[np.bool_]) -> float | None:
    """ROC AUC by midranks (Mann and Whitney 1947), in [0, 1]; None without a positive or a negative case.

    Args:
        score: shape (n,), higher for positive.
        positive: shape (n,).
    """
    n1 = int(positive.sum())
    n0 = len(score) - n1
    if n1 == 0 or n0 == 0:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    midranks = np.cumsum(counts) - (counts - 1) / 2
    return float((midranks[place][positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def average_precision(score: FloatArray, positive: npt.NDArray[np.bool_]) -> float | None:
    """Sum over thresholds of the precision times the gain in recall, in [0, 1]; equal scores are one threshold.

    None without a positive or a negative case: of positive cases alone every order is as good.

    Args:
        score: shape (n,), higher for positive.
        positive: shape (n,).
    """
    if positive.all() or not positive.any():
        return None
    _, place = np.unique(-score, return_inverse=True)
    found = np.bincount(place, weights=positive)
    return float((found * found.cumsum() / np.bincount(place).cumsum()).sum() / positive.sum())


def matthews(confusion: IntArray) -> float | None:
    """R_K of Gorodkin 2004, in [-1, 1]: 0 for a constant prediction, None where one class has all cases.

    Args:
        confusion: counts, shape (classes, classes), rows are true classes.
    """
    table = confusion.astype(np.float64)
    n, hits, support, called = table.sum(), np.trace(table), table.sum(axis=1), table.sum(axis=0)
    spread_true, spread_called = n**2 - support @ support, n**2 - called @ called
    if spread_true == 0:
        return None
    if spread_called == 0:
        return 0.0
    return float((hits * n - support @ called) / math.sqrt(spread_true * spread_called))


def kappa(confusion: IntArray, weights: FloatArray) -> float | None:
    """Weighted kappa of Cohen 1968, at most 1; None where chance leaves nothing to disagree about.

    Args:
        confusion: counts, shape (classes, classes), rows are true classes.
        weights: cost of each kind of disagreement, the same shape, 0 on the diagonal.
    """
    table = confusion.astype(np.float64)
    expected = float((weights * np.outer(table.sum(axis=1), table.sum(axis=0))).sum() / table.sum())
    return None if expected == 0 else 1.0 - float((weights * table).sum()) / expected


def calibration_error(probability: FloatArray, occurred: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error in [0, 1]: ``ECE_BINS`` bins of equal width, the last one closed on both sides.

    The mean over cases of the distance, in each bin, between mean probability and frequency.

    Args:
        probability: shape (n,), in [0, 1].
        occurred: shape (n,): whether that came about which the probability is of.
    """
    gaps = np.bincount(calibration_bins(probability), weights=occurred - probability, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(probability))


def calibration_bins(probability: FloatArray) -> IntArray:
    """The bin of each probability, in [0, ``ECE_BINS``), of the same shape."""
    result: IntArray = np.minimum((probability * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    return result


def class_counts(confusion: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of each class its hits, its own cases, those predicted to be of it, and all cases: shape (4, classes).

    Args:
        confusion: counts or shares, shape (classes, classes), rows are true classes.
    """
    everyone = np.full(len(confusion), confusion.sum())
    return np.stack([np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0), everyone])


def ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> list[float | None]:
    """Quotients of two arrays of the same shape (n,); None where the denominator is 0."""
    pairs = zip(numerator.tolist(), denominator.tolist(), strict=True)
    return [a / b if b else None for a, b in pairs]


def mean(values: list[float | None]) -> float | None:
    """Unweighted mean; None where a value is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None
