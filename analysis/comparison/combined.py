"""Sums of scores of the same trainings under several conditions: training sizes, or networks.

A condition is a dataset label of the evidence. Where the labels are the same dataset trained on in different ways,
their test cases are the same, and the weighted sum of their scores has one table of trainings × cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.comparison.draws import replicates_of
from analysis.comparison.evidence import Cell, Evidence
from analysis.comparison.pairs import DatasetValues
from analysis.stats.case_sets import mean_over_sets
from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds

Weights = Mapping[tuple[str, str], float]
"""(label, method) → its weight in the sum."""


class Combined:
    """Sums of scores by the primary metric.

    Args:
        evidence: of the comparison.
        labels: the conditions.
    """

    def __init__(self, evidence: Evidence, labels: Sequence[str]) -> None:
        self._evidence, self._metric = evidence, evidence.plan.metric
        self._values = {label: DatasetValues(evidence, label) for label in labels}

    def seeds(self, weights: Weights) -> tuple[int, ...]:
        """Seeds, ascending, that every part has a score of, on the same test side."""
        cells = [self._evidence.cells[place] for place in weights if place in self._evidence.cells]
        if len(cells) < len(weights):
            return ()
        scores = [cell.scores.get(self._metric, {}) for cell in cells]
        shared = sorted(set.intersection(*(set(own) for own in scores)))
        known = [seed for seed in shared if all(own[seed] is not None for own in scores)]
        found = tuple(seed for seed in known if len({_split(cell, seed) for cell in cells}) == 1)
        for label in dict.fromkeys(label for label, _ in weights):
            methods = [method for own, method in weights if own == label]
            found = self._values[label].independent(methods, found)
        return found

    def estimate(self, weights: Weights) -> Estimate | None:
        """The weighted sum of the mean scores, with what all parts draw anew; None below two trainings."""
        seeds = self.seeds(weights)
        if len(seeds) < 2:
            return None
        cells = [self._evidence.cells[place] for place in weights]
        replicates = replicates_of(cells, seeds)
        parts = list(weights.items())
        rows = np.sum([weight * self._scores(place, seeds) for place, weight in parts], axis=0)
        first = self._values[parts[0][0][0]]
        table = self._table(weights, seeds)
        if replicates.several_splits:
            return first.over_splits(rows, replicates, table if first.of_one_side else None)
        confidence = self._evidence.plan.confidence
        if table is None:
            return mean_over_seeds(replicates.rows(rows), confidence)
        by_unit = first.by_unit(table, replicates)
        return mean_over_sets(mean_over_seeds(by_unit.mean(axis=1), confidence), [by_unit], confidence)

    def mean(self, label: str, method: str, seeds: Sequence[int]) -> float:
        """The mean score over some seeds."""
        return float(self._scores((label, method), seeds).mean())

    def _scores(self, place: tuple[str, str], seeds: Sequence[int]) -> FloatArray:
        own = self._evidence.cells[place].scores[self._metric]
        return np.array([own[seed] for seed in seeds], dtype=np.float64)

    def _table(self, weights: Weights, seeds: tuple[int, ...]) -> FloatArray | None:
        """Shape (seeds, cases), in the order of the first label's cases; None where the cases are not the same."""
        names: tuple[str, ...] | None = None
        total: FloatArray | None = None
        for (label, method), weight in weights.items():
            values = self._values[label]
            table = values.table(self._metric, method, seeds)
            own = None if values.predictions is None else values.predictions.case_ids
            if table is None or not own:
                return None
            names = own if names is None else names
            if len(own) != len(names):
                return None
            places = {name: place for place, name in enumerate(own)}
            if places.keys() != set(names):
                return None
            part = weight * table[:, [places[name] for name in names]]
            total = part if total is None else total + part
        return total


def _split(cell: Cell, seed: int) -> str | None:
    return cell.drawn.get(seed, cell.splits.get(seed))
