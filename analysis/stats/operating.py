"""Curves over all thresholds of a score, at fixed places, so that those of several trainings can be averaged.

Each function is about one class against the rest. Higher scores speak for the class; equal scores are one threshold.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds
from analysis.stats.resampled import mean_over_splits

Truth = npt.NDArray[np.bool_]

PLACES: FloatArray = np.linspace(0.0, 1.0, 101)
"""False positive rates, or recalls, at which curves are known."""
THRESHOLDS: FloatArray = np.linspace(0.0, 0.99, 100)
"""Threshold probabilities of decision curves: at 1 the odds are infinite."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Band:
    """A curve averaged over trainings, with a pointwise interval of that mean."""

    mean: FloatArray
    """Shape (places,)."""
    low: FloatArray | None
    """None for one training."""
    high: FloatArray | None


def roc(score: FloatArray, positive: Truth) -> FloatArray | None:
    """True positive rate at ``PLACES`` of the false positive rate: the highest one reached there.

    Between two thresholds it rises linearly, so that the area is that of midranks (Mann and Whitney 1947).

    Args:
        score: shape (n,).
        positive: shape (n,).

    Returns:
        Shape (places,); None without a positive or a negative case.
    """
    found = _counts(score, positive)
    if found is None:
        return None
    hits, called = found
    false = np.concatenate(([0.0], (called - hits) / (called[-1] - hits[-1])))
    true = np.concatenate(([0.0], hits / hits[-1]))
    # The last threshold of those with no more false positives than the place, and the one after it.
    start = np.searchsorted(false, PLACES, side="right") - 1
    end = np.minimum(start + 1, len(false) - 1)
    width = false[end] - false[start]
    share = np.divide(PLACES - false[start], width, out=np.zeros_like(PLACES), where=width > 0)
    values: FloatArray = true[start] + share * (true[end] - true[start])
    return values


def precision_recall(score: FloatArray, positive: Truth) -> FloatArray | None:
    """Precision at ``PLACES`` of recall: that of the highest threshold that reaches the recall.

    It is not interpolated between thresholds (Davis and Goadrich 2006): the area of these steps is the average
    precision.

    Args:
        score: shape (n,).
        positive: shape (n,).

    Returns:
        Shape (places,); None without a positive or a negative case.
    """
    found = _counts(score, positive)
    if found is None:
        return None
    hits, called = found
    reaching = np.searchsorted(hits / hits[-1], np.maximum(PLACES, _ROUNDING) - _ROUNDING)
    # At recall 0 stands the first threshold that finds anything.
    first = int(np.argmax(hits > 0))
    precision: FloatArray = (hits / called)[np.maximum(reaching, first)]
    return precision


def _counts(score: FloatArray, positive: Truth) -> tuple[FloatArray, FloatArray] | None:
    """Of each threshold, the highest first: positive cases and all cases at or above it."""
    if positive.all() or not positive.any():
        return None
    _, place = np.unique(-score, return_inverse=True)
    hits: FloatArray = np.bincount(place, weights=positive).cumsum()
    return hits, np.bincount(place).cumsum().astype(np.float64)


def net_benefit(probability: FloatArray, positive: Truth) -> FloatArray:
    """TP / n - FP / n × t / (1 - t) at ``THRESHOLDS`` t, if cases with a probability of at least t are treated.

    Vickers and Elkin (2006).

    Args:
        probability: shape (n,), in [0, 1].
        positive: shape (n,), n ≥ 1.
    """
    odds = THRESHOLDS / (1 - THRESHOLDS)
    own, other = (np.sort(probability[side]) for side in (positive, ~positive))
    hits, alarms = (len(side) - np.searchsorted(side, THRESHOLDS) for side in (own, other))
    values: FloatArray = (hits - odds * alarms) / len(probability)
    return values


def treat_all(share: float) -> FloatArray:
    """Net benefit at ``THRESHOLDS`` of treating every case, where this share of them is positive."""
    values: FloatArray = share - (1 - share) * THRESHOLDS / (1 - THRESHOLDS)
    return values


def band(curves: FloatArray, splits: Sequence[Hashable], overlap: float, confidence: float = 0.95) -> Band:
    """The mean over trainings, and at each place by itself an interval of it.

    It is Student's over trainings on one split, and of several splits that of ``mean_over_splits``.

    Args:
        curves: shape (trainings, places), finite.
        splits: the split of each training.
        overlap: as for ``mean_over_splits``.
        confidence: coverage of the interval at one place, in (0, 1).
    """
    mean: FloatArray = curves.mean(axis=0)
    if len(curves) < 2:
        return Band(mean, None, None)
    low, high = mean.copy(), mean.copy()
    for place, values in enumerate(curves.T):
        if len(set(splits)) > 1:
            over: Estimate = mean_over_splits(values, splits, overlap, confidence)
        else:
            over = mean_over_seeds(values, confidence)
        # Trainings that all agree have no interval: there the band is as wide as the line.
        if over.low is not None and over.high is not None:
            low[place], high[place] = over.low, over.high
    return Band(mean, low, high)
