"""How good the best of so many search trials is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, gammaln

from analysis.stats.estimate import FloatArray, finite


@dataclass(frozen=True, slots=True)
class BudgetCurve:
    """By number of trials m = 1 … B."""

    expected: FloatArray
    """Expected best score of m trials drawn without replacement (Tang et al. 2020): unbiased; shape (B,)."""
    expected_with_replacement: FloatArray
    """The estimator of Dodge et al. 2019, which is biased towards worse scores; shape (B,)."""
    low: FloatArray
    high: FloatArray
    """Interval of the **median** best score of m trials, from order statistics and free of assumptions about the
    scores; infinite where B trials do not bound it. Shapes (B,)."""
    confidence: float


def budget_curve(scores: npt.ArrayLike, confidence: float = 0.95, higher_is_better: bool = True) -> BudgetCurve:
    """The best validation score against the number of trials.

    It assumes trials that do not depend on each other (random search); for a sampler that learns it describes the
    same trials in random order.

    Args:
        scores: shape (B,), finite, one a trial.
        confidence: of the interval at each single m, in (0, 1).
        higher_is_better: direction of the score.

    Raises:
        ValueError: no score, one that is not finite, or a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    sign = 1.0 if higher_is_better else -1.0
    ordered = np.sort(sign * finite(scores, 1))
    count = len(ordered)
    low, high = _median_bounds(ordered, 1 - confidence)
    return BudgetCurve(
        expected=sign * (_chance_of_best(count) @ ordered),
        expected_with_replacement=sign * (_with_replacement(count) @ ordered),
        low=low if higher_is_better else -high,
        high=high if higher_is_better else -low,
        confidence=confidence,
    )


# The methods of a comparison have the same number of trials, and these tables cost more than all else.
@lru_cache(maxsize=2)
def _with_replacement(count: int) -> FloatArray:
    """Chance that the best of m draws in rows has rank i in columns."""
    rank, trials = np.arange(1, count + 1), np.arange(1, count + 1)[:, None]
    result: FloatArray = (rank / count) ** trials - ((rank - 1) / count) ** trials
    return result


@lru_cache(maxsize=2)
def _chance_of_best(count: int) -> FloatArray:
    """``C(i - 1, m - 1) / C(B, m)`` for m in rows and rank i in columns: i is the best of m of B."""
    rank, trials = np.arange(1, count + 1), np.arange(1, count + 1)[:, None]
    possible = rank >= trials
    spare = np.where(possible, rank - trials, 0)
    logs = (
        gammaln(rank)
        - gammaln(trials)
        - gammaln(spare + 1)
        - (gammaln(count + 1) - gammaln(trials + 1) - gammaln(count - trials + 1))
    )
    return np.where(possible, np.exp(logs), 0.0)


def _median_bounds(ordered: FloatArray, alpha: float) -> tuple[FloatArray, FloatArray]:
    """The median best of m is the quantile ``0.5 ** (1 / m)`` of a single score, bounded by order statistics."""
    padded = np.concatenate([[-np.inf], ordered, [np.inf]])
    lower_rank, upper_rank = _bounding_ranks(len(ordered), alpha)
    return padded[lower_rank], padded[upper_rank]


@lru_cache(maxsize=2)
def _bounding_ranks(count: int, alpha: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Places of both bounds for m = 1 … B among the ordered scores; 0 and B + 1 where there is none."""
    quantile = 0.5 ** (1.0 / np.arange(1, count + 1))
    # below[r, m]: chance that at most r scores lie below the quantile.
    below = bdtr(np.arange(count)[:, None].astype(np.float64), count, quantile)
    return (below <= alpha / 2).sum(axis=0), 1 + (below < 1 - alpha / 2).sum(axis=0)
