"""What a shift costs: the drop of each method, the difference of the drops of two, and corruption errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.comparison.draws import Replicates, cells_on, replicates_of
from analysis.comparison.evidence import Cell
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.shifts import Shift
from analysis.stats.case_sets import mean_over_sets, row_values
from analysis.stats.cautions import VERDICT_REPLICATES, Refused
from analysis.stats.corruption_error import corruption_error_values
from analysis.stats.effective_robustness import effective_robustness
from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds
from analysis.stats.multiplicity import adjust
from analysis.stats.ranges import difference_within_range, within_range
from analysis.stats.twoway import two_way

ACCURACY = "accuracy"
"""What corruption errors and the line of effective robustness are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """What a method loses under a shift."""

    dataset: str
    method: str
    seeds: tuple[int, ...]
    reference: float
    """Mean score on the reference."""
    shifted: float
    """Mean score under the shift."""
    estimate: Estimate
    """What is lost: above zero where the score is worse under the shift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropDifference:
    """What a method loses more than another under a shift, paired by training and case."""

    dataset: str
    first: str
    second: str
    estimate: Estimate
    """Above zero where the first loses more."""
    replicates: int
    """Independent draws behind it."""
    family: int
    p: float | None
    p_adjusted: float | None

    def shown(self, alpha: float) -> bool:
        """Whether a difference was shown at a level; too few replicates carry no verdict."""
        return self.replicates >= VERDICT_REPLICATES and self.p_adjusted is not None and self.p_adjusted <= alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionError:
    """The mean corruption error of a method relative to the control."""

    dataset: str
    method: str
    estimate: Estimate | None
    """None where it does not exist."""
    by_set: Mapping[str, float]
    """Corruption → error relative to the control."""
    why: str = ""
    """Why it does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondLine:
    """The effective robustness of a method: its accuracy under a shift beyond the line of the control's trainings."""

    dataset: str
    method: str
    estimate: Estimate | None
    """None where the line says nothing."""
    why: str = ""
    """Why it says nothing."""


class DatasetDrops:
    """The drops of the methods on one dataset.

    Args:
        shift: what is scored, and the reference.
        values: of one dataset under the shift.
    """

    def __init__(self, shift: Shift, values: DatasetValues) -> None:
        dataset = values.dataset
        self._shift, self._dataset, self._values = shift, dataset, values
        self._cells = cells_on(shift.evidence, dataset)
        self._reference_cells = cells_on(shift.reference, dataset)
        known = dataset in shift.reference.datasets
        self._reference = DatasetValues(shift.reference, dataset) if known else None
        self._metric = shift.evidence.plan.metric
        self._sign = 1.0 if shift.measure.higher_is_better else -1.0

    def drops(self) -> Iterator[Drop]:
        """Each method that has both scores for two trainings or more."""
        for method in self._values.methods:
            found = self._difference((method,))
            if found is not None:
                seeds, estimate = found
                yield Drop(
                    dataset=self._dataset,
                    method=method,
                    seeds=seeds,
                    reference=float(np.mean(self._scores(self._reference_cells, method, seeds))),
                    shifted=float(np.mean(self._scores(self._cells, method, seeds))),
                    estimate=estimate,
                )

    def differences(self) -> Iterator[tuple[str, str, Estimate, int]]:
        """The declared pairs that have them, with the independent draws behind each."""
        for first, second in self._shift.evidence.plan.pairs(self._shift.evidence.ordered):
            if first in self._cells and second in self._cells:
                found = self._difference((first, second))
                if found is not None:
                    own = [self._cells[method] for method in (first, second)]
                    yield first, second, found[1], replicates_of(own, found[0]).independent

    def corruption_errors(self) -> Iterator[CorruptionError]:
        """Each method but the control, where there are several kinds of damage and a control."""
        control = self._shift.evidence.plan.control
        if control is None or control not in self._cells or not self._shift.severities:
            return
        for method in self._values.methods:
            if method != control:
                yield self._corruption_error(method, control)

    def beyond_line(self) -> Iterator[BeyondLine]:
        """The effective robustness of each method but the control; nothing without accuracies and a control."""
        control = self._shift.evidence.plan.control
        if control is None or ACCURACY not in self._shift.evidence.plan.metrics:
            return
        line = self._accuracies(control)
        for method in self._values.methods:
            own = self._accuracies(method)
            if method == control or len(own) < 2 or not line:
                continue
            of_method, of_control = np.array(own).T, np.array(line).T
            try:
                found = effective_robustness(
                    of_method[0], of_method[1], of_control[0], of_control[1], self._values.confidence
                )
            except Refused as error:
                yield BeyondLine(dataset=self._dataset, method=method, estimate=None, why=str(error))
            else:
                yield BeyondLine(dataset=self._dataset, method=method, estimate=found)

    def _accuracies(self, method: str) -> list[tuple[float, float]]:
        """On the reference and under the shift, of each training that has both."""
        reference, shifted = self._reference_cells.get(method), self._cells.get(method)
        if reference is None or shifted is None:
            return []
        both = (reference.scores.get(ACCURACY, {}), shifted.scores.get(ACCURACY, {}))
        found = ((both[0][seed], both[1][seed]) for seed in sorted(set(both[0]) & set(both[1])))
        return [(one, other) for one, other in found if one is not None and other is not None]

    def _difference(self, methods: tuple[str, ...]) -> tuple[tuple[int, ...], Estimate] | None:
        """What is lost by one method, or by the first of two more than by the second."""
        if self._reference is None or not all(method in self._reference_cells for method in methods):
            return None
        cells = [self._cells[method] for method in methods]
        both = [*cells, *(self._reference_cells[method] for method in methods)]
        scores = [cell.scores.get(self._metric, {}) for cell in both]
        seeds = tuple(sorted(set.intersection(*(set(own) for own in scores))))
        if len(methods) > 1:
            seeds = tuple(seed for seed in seeds if cells[0].splits.get(seed) == cells[1].splits.get(seed))
        for values in (self._reference, self._values):
            seeds = values.independent(methods, seeds)
        if len(seeds) < 2 or any(own[seed] is None for own in scores for seed in seeds):
            return None
        replicates = replicates_of(cells, seeds)
        lost = self._sign * (
            self._over(self._reference_cells, methods, seeds) - self._over(self._cells, methods, seeds)
        )
        return seeds, difference_within_range(
            self._estimate(methods, seeds, lost, replicates), self._shift.measure.bounds
        )

    def _estimate(
        self, methods: tuple[str, ...], seeds: tuple[int, ...], lost: FloatArray, replicates: Replicates
    ) -> Estimate:
        assert self._reference is not None
        confidence, several = self._values.confidence, replicates.several_splits
        reference = self._table(self._reference, methods, seeds)
        shifted = self._table(self._values, methods, seeds)
        known = reference is not None and shifted is not None
        if not several and not known:
            return mean_over_seeds(replicates.rows(lost), confidence)
        order = self._places() if self._shift.same_cases else None
        tables = []
        if reference is not None and shifted is not None and order is not None:
            if not several or self._values.of_one_side:
                tables.append(self._values.by_unit(reference[:, order] - shifted, replicates))
        else:
            for sign, values, table in ((1, self._reference, reference), (-1, self._values, shifted)):
                if table is not None and (not several or values.of_one_side):
                    tables.append(sign * values.by_unit(table, replicates))
        tables = [self._sign * table for table in tables]
        if several:
            rows = self._values.over_splits(lost, replicates)
        else:
            rows = mean_over_seeds(row_values(tables), confidence)
        return mean_over_sets(rows, tables, confidence)

    def _places(self) -> list[int] | None:
        """Where each case of the shift is among those of the reference; None where one is not."""
        own = self._values.predictions
        other = None if self._reference is None else self._reference.predictions
        if own is None or other is None or len(own.case_ids) != len(other.case_ids):
            return None
        places = {name: place for place, name in enumerate(other.case_ids)}
        return [places[name] for name in own.case_ids] if places.keys() == set(own.case_ids) else None

    def _table(self, values: DatasetValues, methods: tuple[str, ...], seeds: tuple[int, ...]) -> FloatArray | None:
        tables = [values.table(self._metric, method, seeds) for method in methods]
        known = [table for table in tables if table is not None]
        if len(known) < len(tables):
            return None
        return known[0] if len(known) == 1 else known[0] - known[1]

    def _over(self, cells: Mapping[str, Cell], methods: tuple[str, ...], seeds: tuple[int, ...]) -> FloatArray:
        scores = [self._scores(cells, method, seeds) for method in methods]
        return scores[0] if len(scores) == 1 else scores[0] - scores[1]

    def _scores(self, cells: Mapping[str, Cell], method: str, seeds: Sequence[int]) -> FloatArray:
        own = cells[method].scores[self._metric]
        return np.array([own[seed] for seed in seeds], dtype=np.float64)

    def _corruption_error(self, method: str, control: str) -> CorruptionError:
        own, other = (self._shift.error_rates.get((self._dataset, name), {}) for name in (method, control))
        sets = [name for name in self._shift.sets if name in own and name in other]
        every = [set(own[name]) & set(other[name]) for name in sets]
        seeds = tuple(sorted(set.intersection(*every))) if every else ()
        if len(sets) < len(self._shift.sets) or len(seeds) < 2:
            return CorruptionError(
                dataset=self._dataset, method=method, estimate=None, by_set={}, why="accuracies of both are missing"
            )
        rates, base = (np.array([[one[name][seed] for seed in seeds] for name in sets]) for one in (own, other))
        try:
            values = corruption_error_values(rates, base)
        except Refused as error:
            return CorruptionError(dataset=self._dataset, method=method, estimate=None, by_set={}, why=str(error))
        ratios = dict(zip(sets, (rates.mean(axis=1) / base.mean(axis=1)).tolist(), strict=True))
        replicates = replicates_of([self._cells[method], self._cells[control]], seeds)
        table = self._error_table(method, control, sets, seeds)
        if replicates.several_splits:
            found = self._values.over_splits(values, replicates, table if self._values.of_one_side else None)
        elif table is None:
            found = mean_over_seeds(replicates.rows(values), self._values.confidence)
        else:
            found = two_way(self._values.by_unit(table, replicates), confidence=self._values.confidence)
        return CorruptionError(
            dataset=self._dataset,
            method=method,
            estimate=within_range(found, (0.0, math.inf)),
            by_set=ratios,
        )

    def _error_table(self, method: str, control: str, sets: Sequence[str], seeds: tuple[int, ...]) -> FloatArray | None:
        parts = self._shift.parts(self._dataset)
        stacks = []
        for name in (method, control):
            rows = []
            for of in sets:
                known = None if parts is None else parts.by_set.get(of, {}).get(name)
                if known is None or ACCURACY not in known.values or not set(seeds) <= set(known.seeds):
                    return None
                rows.append(1 - known.values[ACCURACY][[known.seeds.index(seed) for seed in seeds]])
            stacks.append(np.stack(rows))
        return corruption_error_values(*stacks)


def drop_differences(
    shift: Shift, found: Mapping[str, Sequence[tuple[str, str, Estimate, int]]]
) -> list[DropDifference]:
    """The differences of all datasets, corrected together: they are one question.

    Args:
        shift: whose plan says how.
        found: dataset → what ``DatasetDrops.differences`` gave.
    """
    plan = shift.evidence.plan
    flat = [(dataset, *one) for dataset, own in found.items() for one in own]
    raw = [estimate.p_value() for *_, estimate, _ in flat]
    known = [p for p in raw if p is not None]
    family = max(len(plan.pairs(shift.evidence.ordered)) * len(shift.evidence.datasets), len(known))
    adjusted = iter(adjust(known, plan.correction, family).tolist())
    return [
        DropDifference(
            dataset=dataset,
            first=first,
            second=second,
            estimate=estimate,
            replicates=replicates,
            family=family,
            p=p,
            p_adjusted=None if p is None else next(adjusted),
        )
        for (dataset, first, second, estimate, replicates), p in zip(flat, raw, strict=True)
    ]
