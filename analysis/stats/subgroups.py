"""The worst of several subgroups of the test cases, and the gap between the best and the worst.

Both are extremes of estimates, and an extreme that was selected from noisy numbers is too extreme on average. Bootstrap
resamples of it keep that bias where subgroups are about equal (Andrews, Econometrica 68, 2000), so the intervals are
built from tests instead. The end on which selection misleads (the upper end of the worst score, the lower end of the
gap) is corrected for the number of subgroups that may be the worst or the best; which these are is decided as in
generalised moment selection (Andrews and Soares, Econometrica 78, 2010). The other end needs no correction: whichever
of them is truly the worst, the lowest of all lower ends is below its own (intersection-union: Berger, Technometrics 24,
1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from analysis.stats.case_sets import OverSets, Rows, mean_over_sets
from analysis.stats.estimate import Estimate, FloatArray, finite, mean_over_seeds, with_ends
from analysis.stats.ranges import Bounds, within_range

NEAR, NEARER = 3.0, 2.0
"""Standard errors from the observed extreme up to which a subgroup may be the true one: where it counts in a
correction, which must not be too small, and where it only adds to the length of an interval."""
SELECTED = 0.7
"""Share of the error of an interval that the end has on which selection misleads. The other end hardly ever misses
where subgroups are about equal; with even shares intervals then cover 97.5 in 100."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """Of one method over subgroups. The intervals have no standard error: they are not symmetric."""

    worst: int
    """Place of the subgroup that scored worst."""
    best: int
    lowest: Estimate
    """Score of the worst subgroup."""
    gap: Estimate
    """Best minus worst, at least 0."""


def extremes(
    tables: Sequence[FloatArray],
    *,
    higher_is_better: bool = True,
    bounds: Bounds = (-math.inf, math.inf),
    rows: Rows = mean_over_seeds,
    shared: bool = True,
    confidence: float = 0.95,
) -> Extremes:
    """Score of the worst subgroup, and the gap, with intervals over trainings and cases.

    Args:
        tables: one a subgroup, at least two, shape (trainings, cases) each, with the same trainings; no case is in two.
        higher_is_better: whether the worst is the lowest score.
        bounds: the least and the largest score that there can be; the interval of the worst is found on their logit's
            scale, as that of any score.
        rows: how trainings depend on one another; independent by default.
        shared: whether all trainings have the same cases. Where each split has its own, tables have one column, the
            score of each training, and what cases add varies between trainings.
        confidence: coverage in (0, 1).

    Raises:
        ValueError: fewer than two subgroups, shapes that do not fit, or a value that is not finite.
    """
    sign = 1.0 if higher_is_better else -1.0
    own = _Contrasts([sign * finite(table, 2) for table in tables], rows, shared, confidence)
    worst, best = int(own.means.argmin()), int(own.means.argmax())
    candidates = [own.of(place) for place in own.may_be_worst(NEARER)]
    counted = [own.of(place) for place in own.may_be_worst(NEAR)]
    selected, other = SELECTED * (1 - confidence), (1 - SELECTED) * (1 - confidence)
    limits = bounds if higher_is_better else (-bounds[1], -bounds[0])
    lowest = _between(
        own.of(worst),
        min(_end(one, other, limits, -1) for one in candidates),
        min(_end(one, selected / len(counted), limits, 1) for one in counted),
    )
    near, nearer = own.pairs(NEAR), own.pairs(NEARER)
    gap = _between(
        own.of(best, worst) if best != worst else replace(own.of(worst), estimate=0.0),
        max(0.0, *(one.estimate - _reach(one, selected / len(near)) for one in near)),
        max(0.0, *(one.estimate + _reach(one, other) for one in nearer)),
    )
    return Extremes(worst, best, lowest if higher_is_better else _turned(lowest), gap)


def worst_difference(
    first: Sequence[FloatArray],
    second: Sequence[FloatArray],
    *,
    higher_is_better: bool = True,
    rows: Rows = mean_over_seeds,
    shared: bool = True,
    confidence: float = 0.95,
) -> Estimate:
    """The worst subgroup of one method minus the worst subgroup of another, paired by training and case.

    The two may be different subgroups. The difference is at least that of the methods in the worst subgroup of the
    first, and at most that in the worst subgroup of the second; each end allows for every subgroup that may be it. The
    interval covers more than it promises where subgroups are about equal.

    Args:
        first, second: as for ``extremes``, with the same subgroups, trainings and cases.
        higher_is_better: whether the worst is the lowest score.
        rows: how trainings depend on one another.
        shared: as for ``extremes``.
        confidence: coverage in (0, 1).

    Raises:
        ValueError: as for ``extremes``.
    """
    sign = 1.0 if higher_is_better else -1.0
    own = _Contrasts([sign * finite(table, 2) for table in first], rows, shared, confidence)
    other = _Contrasts([sign * finite(table, 2) for table in second], rows, shared, confidence)
    paired = _Contrasts([a - b for a, b in zip(own.tables, other.tables, strict=True)], rows, shared, confidence)
    tail = (1 - confidence) / 2
    lower = [paired.of(place) for place in own.may_be_worst(NEARER)]
    upper = [paired.of(place) for place in other.may_be_worst(NEARER)]
    difference = float(own.means.min() - other.means.min())
    found = _between(
        replace(lower[0], estimate=difference),
        min(difference, *(one.estimate - _reach(one, tail) for one in lower)),
        max(difference, *(one.estimate + _reach(one, tail) for one in upper)),
    )
    return found if higher_is_better else _turned(found)


class _Contrasts:
    """Scores of subgroups, and differences of two of them, with what varies."""

    def __init__(self, tables: Sequence[FloatArray], rows: Rows, shared: bool, confidence: float) -> None:
        if len(tables) < 2:
            raise ValueError(f"needs at least two subgroups, got {len(tables)}")
        self.tables = tables
        self._rows, self._shared, self._confidence = rows, shared, confidence
        self._values = np.stack([table.mean(axis=1) for table in tables])
        self.means: FloatArray = self._values.mean(axis=1)
        self._known: dict[tuple[int, int | None], OverSets] = {}

    def of(self, up: int, down: int | None = None) -> OverSets:
        """One subgroup, or its difference from another."""
        if (up, down) not in self._known:
            values = self._values[up] if down is None else self._values[up] - self._values[down]
            tables = [self.tables[up], *([] if down is None else [-self.tables[down]])] if self._shared else []
            self._known[up, down] = mean_over_sets(self._rows(values), tables, self._confidence)
        return self._known[up, down]

    def may_be_worst(self, errors: float) -> list[int]:
        """Places of the subgroups that are at most so many standard errors better than the worst."""
        worst = int(self.means.argmin())
        return [at for at in range(len(self.means)) if at == worst or self._within(errors, at, worst)]

    def pairs(self, errors: float) -> list[OverSets]:
        """The differences that may be the gap: of those likewise near the best from those near the worst."""
        best, worst = int(self.means.argmax()), int(self.means.argmin())
        up = [at for at in range(len(self.means)) if at == best or self._within(errors, best, at)]
        return [self.of(a, b) for a, b in product(up, self.may_be_worst(errors)) if a != b] or [self.of(best, worst)]

    def _within(self, errors: float, up: int, down: int) -> bool:
        one = self.of(up, down)
        return one.estimate <= errors * (one.standard_error or 0.0)


def _reach(one: OverSets, tail: float) -> float:
    """How far an end lies from the estimate that misses in ``tail`` of all cases; 0 where nothing varies."""
    return one.half_width(1 - 2 * tail) or 0.0


def _end(one: OverSets, tail: float, bounds: Bounds, side: int) -> float:
    """The lower (-1) or upper (1) end of a score that misses in ``tail`` of all cases; the score if nothing varies."""
    whole = within_range(with_ends(replace(one, confidence=1 - 2 * tail)), bounds)
    end = whole.low if side < 0 else whole.high
    return one.estimate if one.standard_error is None or end is None else end


def _between(one: OverSets, low: float, high: float) -> Estimate:
    """The estimate with these ends; without any where neither of them is apart from it, since nothing varies."""
    varies = low < high
    return Estimate(
        estimate=one.estimate,
        standard_error=None,
        df=None,
        confidence=one.confidence,
        low=low if varies else None,
        high=high if varies else None,
        scope=one.scope,
    )


def _turned(one: Estimate) -> Estimate:
    """The same with the other sign."""
    low, high = (None, None) if one.low is None or one.high is None else (-one.high, -one.low)
    return replace(one, estimate=-one.estimate, low=low, high=high)
