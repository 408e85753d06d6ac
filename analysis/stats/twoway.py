"""The primary interval: a mean over seeds × cases, both taken as random.

This is the analysis of reader studies with many cases, the seeds in the place of readers: Dorfman, Berbaum and Metz
1992 and Obuchowski and Rockette 1995, with the degrees of freedom of Satterthwaite 1946.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import Caution, negative_component, unusable_variance, zero_variance
from analysis.stats.estimate import FloatArray, Mixed, finite, with_ends
from analysis.stats.variances import MeanSquare


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Of a table with one value for each seed and case."""

    seeds: int
    cases: int
    seed: float
    case: float
    residual: float

    @property
    def components(self) -> Components:
        """Method-of-moments estimates of the variance components; they may be negative."""
        return Components(
            seed=(self.seed - self.residual) / self.cases,
            case=(self.case - self.residual) / self.seeds,
            interaction=self.residual,
        )


@dataclass(frozen=True, slots=True)
class Components:
    """Variances between seeds, between cases, and of what remains, in squared units of the metric.

    With one value for each seed and case, what remains is the interaction of both and pure chance in one.
    """

    seed: float
    case: float
    interaction: float

    def variance_of_mean(self, seeds: int, cases: int) -> float:
        """Of a mean over so many seeds and cases; components below zero count as zero."""
        seed, case, interaction = (max(0.0, part) for part in (self.seed, self.case, self.interaction))
        return seed / seeds + case / cases + interaction / (seeds * cases)

    def expected_mean_squares(self, seeds: int, cases: int) -> MeanSquares:
        """What the mean squares of a table of that size are on average; components below zero count as zero."""
        seed, case, interaction = (max(0.0, part) for part in (self.seed, self.case, self.interaction))
        return MeanSquares(seeds, cases, interaction + cases * seed, interaction + seeds * case, interaction)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoWay(Mixed):
    """A mean over seeds and cases with its interval.

    Standard error and degrees of freedom are Satterthwaite's; interval and p value are not: with few seeds the mean
    square between them is now and then far too small by chance, and then the degrees of freedom are too many as well
    (with 5 seeds and 45 comparisons Holm gave 15 false families in 100 instead of 5; with 2 seeds intervals covered 90
    in 100 instead of 95; ``benchmarks/calibration``).
    """

    mean_squares: MeanSquares
    components: Components

    def parts(self) -> tuple[MeanSquare, MeanSquare | None] | None:
        """``MSs / (S n)`` and ``max(0, MSc - MSr) / (S n)``; the standard error alone where both are nearly zero."""
        squares, size = self.mean_squares, self.mean_squares.seeds * self.mean_squares.cases
        above = max(0.0, squares.case - squares.residual)
        if self.standard_error is None or self.df is None:
            return None
        if squares.seed + above <= 1e-12 * squares.residual:
            return MeanSquare(self.standard_error**2, self.df), None
        return MeanSquare(squares.seed / size, squares.seeds - 1), MeanSquare(above / size, squares.cases - 1)


def mean_squares(table: FloatArray) -> MeanSquares:
    """Mean squares between rows, between columns, and residual.

    Args:
        table: shape (seeds, cases), at least 2 × 2, finite.

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    table = finite(table, 2)
    seeds, cases = table.shape
    if seeds < 2 or cases < 2:
        raise ValueError(f"needs at least two seeds and two cases, got {seeds} × {cases}")
    centred = table - table.mean()
    rows, columns = centred.mean(axis=1), centred.mean(axis=0)
    between_seeds, between_cases = cases * float(rows @ rows), seeds * float(columns @ columns)
    # Rounding can leave a difference just below zero where nothing remains.
    remaining = max(0.0, float(np.vdot(centred, centred)) - between_seeds - between_cases)
    return MeanSquares(
        seeds=seeds,
        cases=cases,
        seed=between_seeds / (seeds - 1),
        case=between_cases / (cases - 1),
        residual=remaining / ((seeds - 1) * (cases - 1)),
    )


def variance_and_df(squares: MeanSquares) -> tuple[float, float, bool]:
    """Variance of the mean, Satterthwaite's degrees of freedom, and whether the estimate could be used.

    The variance is ``V / (S n)`` with ``V = MSs + MSc - MSr``, on
    ``V² / (MSs² / (S - 1) + MSc² / (n - 1) + MSr² / ((S - 1)(n - 1)))`` degrees of freedom. Where V is not above zero
    the larger of ``MSs`` and ``MSc`` takes its place, with its own degrees of freedom; likewise where less than one
    degree of freedom remains, which means that V is as good as zero. Where both vanish, MSr is left.
    """
    s, n = squares.seeds - 1, squares.cases - 1
    total = squares.seed + squares.case - squares.residual
    spread = squares.seed**2 / s + squares.case**2 / n + squares.residual**2 / (s * n)
    size = squares.seeds * squares.cases
    # The comparisons leave room for rounding, so that the order of the cases decides nothing.
    if total > 0 and total**2 >= spread * (1 - 1e-9):
        return total / size, total**2 / spread, True
    if max(squares.seed, squares.case) <= 1e-12 * squares.residual:
        return squares.residual / size, float(s * n), False
    if squares.seed >= squares.case * (1 - 1e-9):
        return squares.seed / size, float(s), False
    return squares.case / size, float(n), False


def two_way(differences: FloatArray, groups: npt.NDArray[np.int64] | None = None, confidence: float = 0.95) -> TwoWay:
    """Interval of a mean over seeds and cases.

    Args:
        differences: shape (seeds, cases), paired by both: differences of correctness, or of pseudo-values, whose mean
            over cases is the difference of the metric of that seed.
        groups: shape (cases,), the patient or lesion of each case as whole numbers from 0 without gaps; cases of a
            group are then not counted as independent. Every case is its own group if None.
        confidence: coverage in (0, 1).

    Returns:
        ``standard_error``, ``df``, ``low`` and ``high`` are None where all differences are the same.

    Raises:
        ValueError: fewer than two seeds, cases or groups, or a value that is not finite.
    """
    table = finite(differences, 2)
    if groups is not None:
        table = by_group(table, groups)
    squares = mean_squares(table)
    components = squares.components
    mean = float(table.mean())
    if max(squares.seed, squares.case, squares.residual) <= 1e-24 * max(1.0, mean**2):
        return TwoWay(
            estimate=mean,
            standard_error=None,
            df=None,
            confidence=confidence,
            low=None,
            high=None,
            scope="seeds_and_cases",
            cautions=(zero_variance(),),
            mean_squares=squares,
            components=components,
        )
    variance, df, usable = variance_and_df(squares)
    return with_ends(
        TwoWay(
            estimate=mean,
            standard_error=math.sqrt(variance),
            df=df,
            confidence=confidence,
            low=None,
            high=None,
            scope="seeds_and_cases",
            cautions=_cautions(components, usable),
            mean_squares=squares,
            components=components,
        )
    )


def by_group(table: FloatArray, groups: npt.NDArray[np.int64]) -> FloatArray:
    """Columns of one group as one column, each row's mean unchanged.

    A group's value is the row's mean plus the sum of its cases' distances from that mean, times groups / cases: the
    linearisation of a ratio of totals, which for groups of equal size is their mean.

    Args:
        table: shape (seeds, cases).
        groups: shape (cases,), whole numbers from 0 without gaps.

    Returns:
        Shape (seeds, groups).

    Raises:
        ValueError: another shape, or group numbers with gaps.
    """
    groups = np.asarray(groups)
    cases = table.shape[1]
    if groups.shape != (cases,) or not np.issubdtype(groups.dtype, np.integer) or groups.min() < 0:
        raise ValueError(f"groups need {cases} whole numbers from 0, got {groups.dtype} of shape {groups.shape}")
    sizes = np.bincount(groups)
    if not sizes.all():
        raise ValueError("group numbers have gaps")
    mean = table.mean(axis=1, keepdims=True)
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums = np.add.reduceat((table - mean)[:, order], starts, axis=1)
    result: FloatArray = mean + sums * (len(sizes) / cases)
    return result


def _cautions(components: Components, usable: bool) -> tuple[Caution, ...]:
    names = [name for name, part in (("seeds", components.seed), ("cases", components.case)) if part < 0]
    negative = negative_component(names)
    return (*(() if negative is None else (negative,)), *(() if usable else (unusable_variance(),)))
