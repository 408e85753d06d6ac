"""The methods by subgroup of the test cases: the worst one, the gap, and the worst ones of two methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.comparison.case_values import case_values
from analysis.comparison.draws import Replicates, cells_on, replicates_of
from analysis.comparison.evidence import Evidence, Predictions, by_appearance
from analysis.comparison.pairs import DatasetValues
from analysis.stats.case_sets import Rows
from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds
from analysis.stats.ranges import difference_within_range
from analysis.stats.subgroups import Extremes, extremes, worst_difference
from analysis.stats.twoway import by_group

ACCURACY = "accuracy"
"""By which subgroups are compared where a class is missing in one of them, so that the primary metric is undefined."""


@dataclass(frozen=True, slots=True)
class Subgroup:
    """Some of the test cases."""

    name: str
    cases: int
    """Where splits have test sides of their own, on the one with the fewest."""
    units: int
    """Patients or lesions among them; cases where these are not known."""


@dataclass(frozen=True, slots=True)
class SubgroupScores:
    """One method by subgroup."""

    method: str
    seeds: tuple[int, ...]
    means: tuple[float, ...]
    """In the order of the subgroups."""
    extremes: Extremes


@dataclass(frozen=True, slots=True)
class WorstDifference:
    """The worst subgroup of one method minus that of another."""

    first: str
    second: str
    seeds: int
    """Independent draws behind it."""
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SubgroupFindings:
    """The test cases of a dataset, divided by a column of metadata."""

    dataset: str
    column: str
    metric: str
    undefined: tuple[str, ...]
    """Subgroups that lack a class, for which the primary metric is not defined; ``metric`` is accuracy then."""
    groups: tuple[Subgroup, ...]
    without: int
    """Test cases without a value, which are in no subgroup; on the split with the most."""
    scores: tuple[SubgroupScores, ...]
    differences: tuple[WorstDifference, ...]
    """Of the declared pairs."""

    @property
    def smallest(self) -> Subgroup:
        """The one with the fewest cases."""
        return min(self.groups, key=lambda one: one.cases)


def subgroup_findings(
    evidence: Evidence, dataset: str, column: str, values: Mapping[str, str | None]
) -> SubgroupFindings | None:
    """Compare the methods in the subgroups of a dataset's test cases.

    Args:
        evidence: of the comparison.
        dataset: which.
        column: of metadata, for the words.
        values: case → its value there.

    Returns:
        None without predictions, or where fewer than two subgroups have two cases each.
    """
    sides = _sides(evidence, dataset)
    if not sides:
        return None
    own = [_members(side, values) for side in sides]
    names = sorted(
        {
            name
            for members in own
            for name in members
            if all(_enough(side, one.get(name)) for side, one in _both(sides, own))
        }
    )
    if len(names) < 2:
        return None
    plan = evidence.plan
    undefined = tuple(
        name for name in names if any(_undefined(plan.metric, s, one[name]) for s, one in _both(sides, own))
    )
    metric = ACCURACY if undefined else plan.metric
    if undefined and any(_undefined(metric, side, one[name]) for name in names for side, one in _both(sides, own)):
        return None
    reader = _Tables(evidence, dataset, metric, list(_both(sides, own)), names)
    return SubgroupFindings(
        dataset=dataset,
        column=column,
        metric=metric,
        undefined=undefined,
        groups=tuple(_subgroup(name, list(_both(sides, own))) for name in names),
        without=max(side.cases - sum(map(len, one.values())) for side, one in _both(sides, own)),
        scores=tuple(reader.scores()),
        differences=tuple(reader.differences()),
    )


Members = Mapping[str, npt.NDArray[np.int64]]
"""Subgroup → places of its cases."""


class _Tables:
    """Reads the tables of each method by subgroup."""

    def __init__(
        self,
        evidence: Evidence,
        dataset: str,
        metric: str,
        sides: Sequence[tuple[Predictions, Members]],
        names: Sequence[str],
    ) -> None:
        self._evidence, self._metric, self._sides, self._names = evidence, metric, sides, names
        self._values = DatasetValues(evidence, dataset)
        self._cells = cells_on(evidence, dataset)
        self._higher = evidence.plan.higher_is_better(metric)
        self._confidence = evidence.plan.confidence

    def scores(self) -> Iterator[SubgroupScores]:
        for method in self._evidence.methods:
            seeds = self._seeds(method)
            if len(seeds) > 1:
                replicates = replicates_of([self._cells[method]], seeds)
                tables, bounds = self._of(method, seeds, replicates), self._evidence.plan.facts(self._metric).bounds
                found = extremes(
                    tables,
                    higher_is_better=self._higher,
                    bounds=bounds,
                    rows=self._rows(replicates),
                    shared=self._shared(replicates),
                    confidence=self._confidence,
                )
                whole = replace(found, gap=difference_within_range(found.gap, bounds))
                yield SubgroupScores(method, seeds, tuple(float(table.mean()) for table in tables), whole)

    def differences(self) -> Iterator[WorstDifference]:
        for first, second in self._evidence.plan.pairs(self._evidence.ordered):
            seeds = self._seeds(first, second)
            if len(seeds) < 2:
                continue
            replicates = replicates_of([self._cells[first], self._cells[second]], seeds)
            estimate = worst_difference(
                self._of(first, seeds, replicates),
                self._of(second, seeds, replicates),
                higher_is_better=self._higher,
                rows=self._rows(replicates),
                shared=self._shared(replicates),
                confidence=self._confidence,
            )
            bounds = self._evidence.plan.facts(self._metric).bounds
            yield WorstDifference(first, second, replicates.independent, difference_within_range(estimate, bounds))

    def _seeds(self, *methods: str) -> tuple[int, ...]:
        known = [{seed for side, _ in self._sides for seed in side.seeds_of(method)} for method in methods]
        shared = sorted(set.intersection(*known))
        on = [self._cells[method].splits for method in methods if method in self._cells]
        same = [seed for seed in shared if len({splits.get(seed) for splits in on}) == 1]
        return self._values.independent(methods, same)

    def _of(self, method: str, seeds: tuple[int, ...], replicates: Replicates) -> list[FloatArray]:
        """A table a subgroup: independent trainings × units, or one column where each split has its own cases."""
        return [self._table(method, name, seeds, replicates) for name in self._names]

    def _table(self, method: str, name: str, seeds: tuple[int, ...], replicates: Replicates) -> FloatArray:
        rows: dict[int, FloatArray] = {}
        for side, members in self._sides:
            own = [seed for seed in seeds if seed in side.logits.get(method, {})]
            if not own:
                continue
            places = members[name]
            part = _part(side, places)
            logits = np.stack([side.logits[method][seed][places] for seed in own])
            table = case_values((self._metric,), logits, part)[self._metric]
            by_unit = table if part.groups is None else by_group(table, part.groups)
            rows |= dict(zip(own, by_unit, strict=True))
        if self._shared(replicates):
            whole = np.stack([rows[seed] for seed in seeds])
            return whole if replicates.several_splits else replicates.rows(whole)
        return np.array([[rows[seed].mean()] for seed in seeds])

    def _shared(self, replicates: Replicates) -> bool:
        """Whether all trainings have the same cases."""
        return not replicates.several_splits or self._values.of_one_side

    def _rows(self, replicates: Replicates) -> Rows:
        def over_splits(values: FloatArray) -> Estimate:
            return self._values.over_splits(values, replicates)

        return over_splits if replicates.several_splits else mean_over_seeds


def _sides(evidence: Evidence, dataset: str) -> list[Predictions]:
    """The test sides of all splits; one where all replicates share it."""
    cells = cells_on(evidence, dataset)
    if (
        dataset not in evidence.one_test_side
        and len({cell.splits.get(seed) for cell in cells.values() for seed in cell.seeds}) > 1
    ):
        images = evidence.images(dataset)
        found = [] if images is None else list(images.predictions.values())
    else:
        found = [one] if (one := evidence.predictions(dataset)) is not None else []
    return [one for one in found if one.case_ids and one.logits]


def _both(sides: Sequence[Predictions], own: Sequence[Members]) -> Iterator[tuple[Predictions, Members]]:
    return zip(sides, own, strict=True)


def _members(side: Predictions, values: Mapping[str, str | None]) -> Members:
    found: dict[str, list[int]] = {}
    for place, case in enumerate(side.case_ids):
        value = values.get(case)
        if value is not None:
            found.setdefault(value, []).append(place)
    return {name: np.array(places, dtype=np.int64) for name, places in found.items()}


def _part(side: Predictions, places: npt.NDArray[np.int64]) -> Predictions:
    """Some of the cases, without logits."""
    groups = None if side.groups is None else by_appearance(side.groups[places])
    alone = groups is None or len(np.unique(groups)) == len(groups)
    return replace(side, labels=side.labels[places], groups=None if alone else groups, logits={}, case_ids=())


def _enough(side: Predictions, places: npt.NDArray[np.int64] | None) -> bool:
    return places is not None and _part(side, places).units > 1


def _undefined(metric: str, side: Predictions, places: npt.NDArray[np.int64]) -> bool:
    """Whether the labels of some cases leave a metric without values."""
    part = _part(side, places)
    logits = np.zeros((1, len(places), len(side.classes)))
    return metric not in case_values((metric,), logits, part)


def _subgroup(name: str, sides: Sequence[tuple[Predictions, Members]]) -> Subgroup:
    side, members = min(sides, key=lambda one: len(one[1][name]))
    return Subgroup(name, len(members[name]), _part(side, members[name]).units)
