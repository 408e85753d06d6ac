"""Exact two-sided tests of paired differences over seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import Caution, few_seeds_for_exact_test, many_ties, refuse
from analysis.stats.estimate import FloatArray, finite

MAX_PAIRS = 40
"""Up to here 2 ** (n / 2) sums fit in memory."""


@dataclass(frozen=True, slots=True)
class ExactTest:
    """Outcome of an exact test that the differences are symmetric about zero."""

    statistic: float
    """Sign flips: the mean difference. Wilcoxon: the smaller rank sum."""
    p: float
    """Two-sided."""
    floor: float
    """The smallest p value that so many differences other than zero can give: 2 ** (1 - m)."""
    pairs: int
    zeros: int
    cautions: tuple[Caution, ...]


def sign_flip(differences: npt.ArrayLike) -> ExactTest:
    """Exact test of the mean difference over all 2 ** n sign patterns (Fisher, The Design of Experiments, 1935).

    The p value is the fraction of patterns whose mean is at least as far from zero as the observed one.

    Args:
        differences: shape (n,), one a seed, 6 ≤ n ≤ 40.

    Raises:
        Refused: fewer than six.
        ValueError: more than forty, or one that is not finite.
    """
    values = _checked(differences)
    magnitudes = np.abs(values)
    # Halves of the sums of all patterns are few enough to be sorted; each pattern is a sum of two.
    half = len(values) // 2
    first, second = _signed_sums(magnitudes[:half]), np.sort(_signed_sums(magnitudes[half:]))
    # Sums that are equal on paper differ in their last digits.
    least = abs(float(values.sum())) - 1e-9 * float(magnitudes.sum())
    if least <= 0:
        p = 1.0
    else:
        far = len(second) * len(first) - np.searchsorted(second, least - first, "left").sum()
        p = min(1.0, 2.0 * float(far) / 2.0 ** len(values))
    return _result(float(values.mean()), p, values)


def wilcoxon(differences: npt.ArrayLike) -> ExactTest:
    """Exact signed-rank test (Wilcoxon, Biometrics Bulletin 1, 1945): zeros dropped, equal magnitudes share a rank.

    The distribution of the rank sum is computed for the ranks as they are, so that it stays exact with ties.

    Args:
        differences: shape (n,), one a seed, 6 ≤ n ≤ 40.

    Raises:
        Refused: fewer than six.
        ValueError: more than forty, or one that is not finite.
    """
    values = _checked(differences)
    upper, lower = rank_sums(values)
    ranks = doubled_ranks(values[values != 0])
    counts = np.zeros(int(ranks.sum()) + 1)
    counts[0] = 1.0
    for rank in ranks.tolist():
        counts[rank:] += counts[: len(counts) - rank].copy()
    smaller = min(upper, lower)
    p = min(1.0, 2.0 * float(counts[: round(2 * smaller) + 1].sum()) / float(counts.sum()))
    return _result(smaller, p, values)


def rank_sums(differences: npt.ArrayLike) -> tuple[float, float]:
    """Rank sums of the positive and of the negative differences, zeros dropped, mid-ranks for equal magnitudes."""
    values = finite(differences, 1)
    values = values[values != 0]
    ranks = doubled_ranks(values) / 2.0
    return float(ranks[values > 0].sum()), float(ranks[values < 0].sum())


def doubled_ranks(values: FloatArray) -> npt.NDArray[np.int64]:
    """Twice the mid-ranks of the magnitudes, which are whole numbers.

    Magnitudes that differ by less than a billionth of the largest count as equal.
    """
    magnitudes = np.abs(values)
    if len(magnitudes) == 0:
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(magnitudes, kind="stable")
    steps = np.diff(magnitudes[order]) > 1e-9 * magnitudes.max()
    place = np.concatenate([[0], np.cumsum(steps)])
    counts = np.bincount(place)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = (2 * np.cumsum(counts) - counts + 1)[place]
    return ranks


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p value of an exact test of so many pairs, 2 ** (1 - n)."""
    return float(2.0 ** (1 - pairs)) if pairs > 0 else 1.0


def seeds_for_exact_test(family: int, alpha: float = 0.05) -> int:
    """The fewest seeds with which the first step of Holm over ``family`` exact tests can succeed.

    Raises:
        ValueError: a family below 1, or alpha outside (0, 1).
    """
    if family < 1 or not 0 < alpha < 1:
        raise ValueError(f"needs a family of at least 1 and alpha in (0, 1), got {family} and {alpha}")
    seeds = 1
    while smallest_p(seeds) * family > alpha:
        seeds += 1
    return seeds


def _checked(differences: npt.ArrayLike) -> FloatArray:
    refuse(few_seeds_for_exact_test(np.size(differences)))
    values = finite(differences, 1)
    if len(values) > MAX_PAIRS:
        raise ValueError(f"an exact test of {len(values)} pairs takes too long; use the t interval (up to {MAX_PAIRS})")
    return values


def _signed_sums(magnitudes: FloatArray) -> FloatArray:
    sums = np.zeros(1)
    for magnitude in magnitudes:
        sums = np.concatenate([sums - magnitude, sums + magnitude])
    return sums


def _result(statistic: float, p: float, values: FloatArray) -> ExactTest:
    used = values[values != 0]
    zeros = len(values) - len(used)
    _, sizes = np.unique(doubled_ranks(used), return_counts=True)
    tied = zeros + int(sizes[sizes > 1].sum())
    caution = many_ties(tied / len(values))
    return ExactTest(
        statistic, p, smallest_p(len(used)), len(values), zeros, cautions=() if caution is None else (caution,)
    )
