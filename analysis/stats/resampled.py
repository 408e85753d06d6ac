"""The interval of a mean over replicates that train and test on splits of their own.

Training sets of several splits of one dataset share most of their images, and so their results are not independent: the
variance between them is too small by what they share. Nadeau and Bengio (Machine Learning 52, 2003) take the
correlation of two splits to be the test set's share of the images, which gives ``Var(mean) = (1/K + r) S²`` for K
splits, with r test images for each training image.

Where several replicates share a split, they tell what varies between splits from what varies between trainings on one
split, and the overlap concerns the former alone. Where a search serves replicates on several splits, these share its
luck, and searches are the units.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import Caution, unusable_variance, zero_variance
from analysis.stats.estimate import Estimate, FloatArray, Mixed, finite, with_ends, with_interval
from analysis.stats.variances import MeanSquare, Variances, nested


@dataclass(frozen=True, slots=True, kw_only=True)
class OverSplits(Mixed):
    """A mean over replicates on several splits, all of them weighed alike.

    With m replicates on each of K splits, ``S_b²`` the variance of the splits' means and ``S_w²`` the pooled variance
    within a split, the variance is ``(1/K + r) S_b² - r S_w² / m``, and at least ``S_b² / K``. In general, with
    ``n_k`` of N replicates on split k, ``q = Σ n_k² / N²``, ``n_0 = N (1 - q) / (K - 1)`` and the mean squares
    ``MS_b`` and ``MS_w`` of the one-way analysis of variance, it is ``(MS_b + f max(0, MS_b - MS_w)) / N`` with
    ``f = (r + q) N / n_0 - 1``. With one replicate on each split ``MS_w`` is 0, which leaves Nadeau and Bengio's.

    ``df`` is K - 1. With one replicate on each split the interval is Student's. Elsewhere interval and p value average
    over what both expected mean squares may be (Behrens and Fisher): Student's t takes ``MS_w`` for known, and called
    up to 9 in 100 comparisons of equals different instead of 5 (``docs/statistics.md``). An average over datasets pools
    the variance on K - 1 degrees of freedom.
    """

    splits: int
    replicates: int
    between: MeanSquare
    """``MS_b / N``."""
    within: MeanSquare | None
    """``MS_w / N``; None with one replicate on each split."""
    factor: float
    """f."""

    def tail(self, distance: float) -> float | None:
        """As ``Mixed.tail``; Student's where nothing was subtracted."""
        return Estimate.tail(self, distance) if self.within is None else Mixed.tail(self, distance)

    def half_width(self, confidence: float) -> float | None:
        """The inverse of ``tail``."""
        return Estimate.half_width(self, confidence) if self.within is None else Mixed.half_width(self, confidence)

    def _variances(self) -> Variances | None:
        if self.standard_error is None or self.within is None:
            return None
        return nested(self.between, self.within, self.factor)


def mean_over_splits(
    values: FloatArray, splits: Sequence[Hashable], overlap: float, confidence: float = 0.95
) -> OverSplits:
    """Interval of a mean over replicates of several splits.

    Args:
        values: shape (n,), finite: one score, or one paired difference, a replicate.
        splits: the split of each, at least two different ones.
        overlap: test images for each training image of a split, at least 0; 0 where splits share nothing.
        confidence: coverage in (0, 1).

    Returns:
        ``standard_error``, ``df``, ``low`` and ``high`` are None where all values are the same.

    Raises:
        ValueError: fewer than two splits, not a split for each value, a value that is not finite, or an overlap below
            0.
    """
    values, place, sizes = _by_split(values, splits)
    if len(sizes) < 2:
        raise ValueError(f"needs at least two splits, got {len(sizes)}")
    if not 0 <= overlap < math.inf:
        raise ValueError(f"an overlap is at least 0, got {overlap}")
    count, total, mean = len(sizes), len(values), float(values.mean())
    means = np.bincount(place, values - mean) / sizes
    square = float(sizes @ means**2) / (count - 1)
    rest = values - mean - means[place]
    within = MeanSquare(float(rest @ rest) / (total - count) / total, total - count) if total > count else None
    uneven = float(sizes @ sizes) / total**2
    factor = (overlap + uneven) * (count - 1) / (1 - uneven) - 1
    cautions: tuple[Caution, ...] = ()
    if within is not None and square <= 1e-24 * max(1.0, mean**2):
        # The splits' means agree to the last digit, which is chance: as if nothing varied between splits.
        square, cautions = within.variance * total, (unusable_variance(),)
    between = MeanSquare(square / total, count - 1.0)
    above = max(0.0, between.variance - (0.0 if within is None else within.variance))
    error = math.sqrt(between.variance + factor * above)
    spread = np.ptp(values) > 0 and error > 0
    return with_ends(
        OverSplits(
            estimate=mean,
            standard_error=error if spread else None,
            df=between.df if spread else None,
            confidence=confidence,
            low=None,
            high=None,
            scope="splits",
            cautions=cautions if spread else (zero_variance(),),
            splits=count,
            replicates=total,
            between=between,
            within=within,
            factor=factor,
        )
    )


def mean_over_searches(
    values: FloatArray,
    splits: Sequence[Hashable],
    searches: Sequence[Hashable],
    overlap: float,
    confidence: float = 0.95,
) -> Estimate:
    """Interval of a mean over replicates whose searches serve several splits each.

    The means of the B searches are the rows: their variance over B has what varies between searches, and what varies
    between the splits and trainings behind each. What splits share by their overlap comes on top: r times the variance
    of the results of one search on different splits, and where a split is that of several searches, ``q = Σ n_k² / N²``
    times as well. Trainings vary in that variance, too, so that it is rather too large. Degrees of freedom are
    Satterthwaite's, from B - 1 and from those within searches.

    Args:
        values: shape (n,), finite: one score, or one paired difference, a replicate.
        splits: the split of each.
        searches: the search of each: at least two, of which one or more serve several splits.
        overlap: test images for each training image of a split, at least 0.
        confidence: coverage in (0, 1).

    Returns:
        The mean over replicates; without an interval where all values are the same.

    Raises:
        ValueError: fewer than two searches, none of several splits, not a split and a search for each value, a value
            that is not finite, or an overlap below 0.
    """
    values, place, sizes = _by_split(values, splits)
    _, search, amounts = _by_split(values, searches)
    count, total, mean = len(amounts), len(values), float(values.mean())
    # One number for each search on each of its splits.
    pairs, cell = np.unique(np.stack([search, place]), axis=1, return_inverse=True)
    of_cell = np.bincount(cell, values) / np.bincount(cell)
    cells = np.bincount(pairs[0]).astype(np.float64)
    df = len(of_cell) - count
    if count < 2 or df < 1:
        raise ValueError(f"needs at least two searches, and one that serves several splits, got {count} and {df}")
    if not 0 <= overlap < math.inf:
        raise ValueError(f"an overlap is at least 0, got {overlap}")
    rest = of_cell - (np.bincount(pairs[0], of_cell) / cells)[pairs[0]]
    crossed = len(pairs[0]) > len(sizes)
    shared = overlap + (float(sizes @ sizes) / total**2 if crossed else 0.0)
    # Weighed so that their mean is that of the replicates.
    rows = np.bincount(search, values - mean) * count / total
    whole = MeanSquare.pooled(
        [
            MeanSquare(float(rows @ rows) / (count - 1) / count, count - 1.0),
            MeanSquare(shared * float(rest @ rest) / df, float(df)),
        ]
    )
    spread = np.ptp(values) > 0 and whole.variance > 0
    return with_interval(
        mean, math.sqrt(whole.variance) if spread else None, whole.df, confidence, "splits",
        () if spread else (zero_variance(),),
    )  # fmt: skip


def mean_within_splits(values: FloatArray, splits: Sequence[Hashable], confidence: float = 0.95) -> Estimate | None:
    """Student's interval of the same mean for the narrower claim: retraining on these very splits.

    Args:
        values: shape (n,), finite.
        splits: the split of each.
        confidence: coverage in (0, 1).

    Returns:
        None where no split has two replicates: how much a training changes is not known then.

    Raises:
        ValueError: not a split for each value, or a value that is not finite.
    """
    values, place, sizes = _by_split(values, splits)
    df = len(values) - len(sizes)
    if df < 1:
        return None
    rest = values - (np.bincount(place, values) / sizes)[place]
    error = math.sqrt(float(rest @ rest) / df / len(values))
    mean = float(values.mean())
    return with_interval(mean, error if error > 1e-12 * abs(mean) else None, float(df), confidence, "seeds")


def _by_split(values: FloatArray, splits: Sequence[Hashable]) -> tuple[FloatArray, npt.NDArray[np.int64], FloatArray]:
    """The values, the place of each one's split, and how many each split has."""
    values = finite(values, 1)
    if len(splits) != len(values):
        raise ValueError(f"needs a split for each of {len(values)} values, got {len(splits)}")
    places = {split: place for place, split in enumerate(dict.fromkeys(splits))}
    place = np.array([places[split] for split in splits], dtype=np.int64)
    return values, place, np.bincount(place).astype(np.float64)
