"""The interval of a mean over trainings and one or several sets of cases that all trainings are scored on.

A drop is a score on one set of cases minus that on another, a gap the difference of two groups of cases, and an
external test set is the same for trainings on several splits. In all of them the trainings are the rows, and each set
of cases adds a variance of its own. With one set and independent trainings this is the two-way analysis of
``analysis.stats.twoway``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.stats.cautions import zero_variance
from analysis.stats.estimate import Estimate, FloatArray, Mixed, finite, mean_over_seeds, with_ends
from analysis.stats.twoway import mean_squares
from analysis.stats.variances import MeanSquare

Rows = Callable[[FloatArray], Estimate]
"""From one number a training, shape (trainings,), to their mean with what varies between trainings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverSets(Mixed):
    """A mean over trainings and sets of cases.

    The variance is that of the mean over trainings, whose cases are taken as they are, plus for each set
    ``max(0, MSc - MSr) / (S n)`` of its S × n table: what new cases add. The parts of several sets are independent and
    are pooled (Satterthwaite 1946). Interval and p value average over what both parts may be (Behrens and Fisher).
    """

    rows: MeanSquare
    cases: MeanSquare | None

    def parts(self) -> tuple[MeanSquare, MeanSquare | None] | None:
        """Both; None where nothing varies."""
        if self.standard_error is None:
            return None
        if self.cases is None or self.cases.variance <= 0:
            return self.rows, None
        # The mixture needs a variance between trainings, however small.
        return MeanSquare(max(self.rows.variance, 1e-12 * self.cases.variance), self.rows.df), self.cases


def mean_over_sets(rows: Estimate, tables: Sequence[FloatArray], confidence: float = 0.95) -> OverSets:
    """Interval of a mean over trainings, of which some sets of cases are shared by all.

    Args:
        rows: the mean over trainings: of one number each, to which every set has contributed.
        tables: what each shared set contributes, shape (trainings, cases) each, at least 2 × 2, finite, with a factor
            or a sign where the set has one; cases that belong together count as one column. Empty where each training
            has cases of its own, whose variation is then between trainings.
        confidence: coverage in (0, 1).

    Returns:
        ``standard_error``, ``df``, ``low`` and ``high`` are None where nothing varies.

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    parts = [_case_part(table) for table in tables]
    own = rows.parts()
    between = MeanSquare(0.0, 1.0) if own is None else own[0]
    cases = MeanSquare.pooled(parts) if parts else None
    variance = between.variance + (0.0 if cases is None else cases.variance)
    spread = variance > 1e-24 * max(1.0, rows.estimate**2)
    whole = MeanSquare.pooled([between, *([] if cases is None else [cases])])
    return with_ends(
        OverSets(
            estimate=rows.estimate,
            standard_error=math.sqrt(variance) if spread else None,
            df=whole.df if spread else None,
            confidence=confidence,
            low=None,
            high=None,
            scope="seeds_and_cases" if parts and rows.scope == "seeds" else rows.scope,
            cautions=rows.cautions if spread else (zero_variance(),),
            rows=between,
            cases=cases,
        )
    )


def sum_of_sets(tables: Sequence[FloatArray], rows: Rows = mean_over_seeds, confidence: float = 0.95) -> OverSets:
    """Interval of the sum of the means of sets of cases that have nothing in common and that all trainings share.

    Args:
        tables: as for ``mean_over_sets``, at least one, with the same trainings in the same order.
        rows: how trainings depend on one another; independent by default.
        confidence: coverage in (0, 1).

    Raises:
        ValueError: no table, another shape, or a value that is not finite.
    """
    if not tables:
        raise ValueError("needs at least one set of cases")
    return mean_over_sets(rows(row_values(tables)), tables, confidence)


def row_values(tables: Sequence[FloatArray]) -> FloatArray:
    """What each training comes to over all sets, shape (trainings,).

    Raises:
        ValueError: tables that do not have the same trainings, or a value that is not finite.
    """
    means = [finite(table, 2).mean(axis=1) for table in tables]
    if len({len(mean) for mean in means}) != 1:
        raise ValueError(f"needs the same trainings in every set, got {[len(mean) for mean in means]}")
    total: FloatArray = sum(means[1:], start=means[0])
    return total


def _case_part(table: FloatArray) -> MeanSquare:
    squares = mean_squares(table)
    return MeanSquare(max(0.0, squares.case - squares.residual) / (squares.seeds * squares.cases), squares.cases - 1.0)
