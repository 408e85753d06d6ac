"""What the data of one dataset say of each method and each pair of methods, before any correction for their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from analysis.comparison.case_values import case_values, undefined
from analysis.comparison.copies import copies_on
from analysis.comparison.evidence import Evidence, Predictions, by_appearance
from analysis.comparison.one_source import CaseDifferences
from analysis.stats.cautions import (
    Caution,
    collapsed_seeds,
    few_cases,
    few_replicates,
    few_seeds,
    few_seeds_for_exact_test,
    mixed_devices,
    nothing_in_common,
    seeds_only,
    undefined_scores,
    unequal_seeds,
    unequal_spread,
    unknown_repeat_noise,
)
from analysis.stats.effects import Effects, paired_effects
from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds, paired_differences
from analysis.stats.paired import MOST_PAIRS, ExactTest, sign_flip, wilcoxon
from analysis.stats.ranges import difference_within_range, within_range
from analysis.stats.twoway import TwoWay, two_way
from analysis.stats.variance import VarianceShares, split_variance

Interval = Literal["two_way", "t_over_seeds", "fixed_datasets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The difference of two methods on one dataset (None: averaged over ``datasets``) by one metric."""

    dataset: str | None
    metric: str
    first: str
    second: str
    seeds: tuple[int, ...]
    """Those that both methods have, by which they are paired."""
    replicates: int = 0
    """Results of each method behind the estimate; of an average the fewest on any dataset."""
    cases: int | None = None
    """Test cases behind the interval; None where it covers seeds alone."""
    datasets: tuple[str, ...] = ()
    sources: int = 1
    """How many sources the datasets have, each of which has the same weight."""
    interval: Interval | None = None
    estimate: Estimate | None = None
    """First minus second, in units of the metric; None where no comparison is possible, and ``cautions`` say why."""
    over_seeds: Estimate | None = None
    """The narrower claim: retraining, scored on these very test cases."""
    effects: Effects | None = None
    sign_flip: ExactTest | None = None
    wilcoxon: ExactTest | None = None
    repeat_noise: float = 0.0
    """Largest change of the metric that a repetition with the same seed showed in either method."""
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodScore:
    """One method on one dataset by one metric."""

    dataset: str
    method: str
    metric: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    """By seed; empty where one seed leaves the metric undefined: a mean of the others would hide that."""
    over_seeds: Estimate | None
    over_both: TwoWay | None
    """None without predictions, or for a metric that a plugin defines."""
    collapsed: tuple[int, ...]
    """Seeds that learned next to nothing; empty where what a constant prediction scores is no fixed number."""
    spread: VarianceShares | None
    """What the uncertainty is made of; None with ``over_both`` or without any."""

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds, not a measure of certainty; None for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None


class DatasetValues:
    """The scores, and where there are predictions the tables of seeds × cases, of one dataset's methods.

    Args:
        evidence: of the comparison.
        dataset: which; its predictions are read once and kept as long as this object.
    """

    def __init__(self, evidence: Evidence, dataset: str) -> None:
        self.dataset = dataset
        self.metrics = evidence.plan.metrics
        self.confidence = evidence.plan.confidence
        self._plan, self._chance = evidence.plan, evidence.chance(dataset)
        self.methods = [method for method in evidence.ordered if (dataset, method) in evidence.cells]
        self.absent = [method for method in evidence.ordered if (dataset, method) not in evidence.cells]
        self._order = evidence.ordered
        self._cells = {method: evidence.cells[dataset, method] for method in self.methods}
        self._predictions = evidence.predictions(dataset)
        self._copies = copies_on(self._cells, self._predictions)
        self._tables: dict[str, dict[str, FloatArray]] = {}

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """Reservations about the test cases and about trainings that are copies."""
        copied = tuple(dict.fromkeys(self._copies.of(*self.methods)))
        if self._predictions is None:
            return copied
        few = few_cases(
            self._predictions.units_of_classes, "test case" if self._predictions.groups is None else "group"
        )
        return (*self._predictions.cautions, *(() if few is None else (few,)), *copied)

    @property
    def predictions(self) -> Predictions | None:
        """What the methods predicted for the test cases."""
        return self._predictions

    def scores(self) -> Iterator[MethodScore]:
        """Every method by every metric."""
        for metric in self.metrics:
            for method in self.methods:
                yield self._score(metric, method)

    def pairs(self, metrics: Sequence[str], part: slice = slice(None)) -> Iterator[Pair]:
        """Every pair of methods once, the control always second, by each of the metrics.

        Args:
            metrics: which.
            part: which of the seeds that both have, in ascending order.
        """
        for metric in metrics:
            for first, second in combinations(self._order, 2):
                yield self.pair(metric, first, second, part)

    def pair(self, metric: str, first: str, second: str, part: slice = slice(None)) -> Pair:
        """One pair of methods; where they cannot be compared it says why."""
        absent = [method for method in (first, second) if method in self.absent]
        if absent:
            reason = f"there is nothing of {' and '.join(absent)} on this dataset"
            return self._without(metric, first, second, nothing_in_common(reason))
        a, b = self._cells[first], self._cells[second]
        own, other = a.scores.get(metric, {}), b.scores.get(metric, {})
        seeds = self._copies.independent((first, second), sorted(set(own) & set(other)))[part]
        undefined = [seed for seed in seeds if own[seed] is None or other[seed] is None]
        said = [
            *self._copies.of(first, second),
            unequal_seeds(sorted(own), sorted(other)),
            mixed_devices(sorted({*a.devices, *b.devices})),
        ]
        if not seeds:
            return self._without(metric, first, second, nothing_in_common("no seed is done in both"), *said)
        if undefined:
            return self._without(metric, first, second, undefined_scores(metric, undefined), *said)
        if len(seeds) < 2:
            return self._without(metric, first, second, few_seeds(len(seeds)), *said)
        x, y = (np.array([values[seed] for seed in seeds], dtype=np.float64) for values in (own, other))
        differences = paired_differences(x, y)
        interval, estimate, over_both = self._difference(metric, first, second, seeds, differences)
        bounds = self._plan.facts(metric).bounds
        estimate = difference_within_range(estimate, bounds)
        exact = few_seeds_for_exact_test(len(seeds)) is None and len(seeds) <= MOST_PAIRS
        said += [
            few_replicates(len(seeds)),
            unequal_spread(float(x.std(ddof=1)), float(y.std(ddof=1)), len(seeds)),
            unknown_repeat_noise(sorted({*a.devices, *b.devices}), bool(a.repeats and b.repeats)),
            *over_both,
        ]
        flips, ranks = (sign_flip(differences), wilcoxon(differences)) if exact else (None, None)
        said += flips.cautions if flips is not None else ()
        return Pair(
            dataset=self.dataset,
            metric=metric,
            first=first,
            second=second,
            seeds=seeds,
            replicates=len(seeds),
            cases=self._predictions.cases if self._predictions and interval != "t_over_seeds" else None,
            interval=interval,
            estimate=estimate,
            over_seeds=difference_within_range(mean_over_seeds(differences, self.confidence), bounds),
            effects=paired_effects(x, y),
            sign_flip=flips,
            wilcoxon=ranks,
            repeat_noise=max((one.change.get(metric, 0.0) for one in (*a.repeats, *b.repeats)), default=0.0),
            cautions=_present(*said, *estimate.cautions),
        )

    def by_case(self, pair: Pair) -> CaseDifferences | None:
        """The table behind a pair's two-way interval, its cases in the order of their names; None without either."""
        a, b = (self._table(pair.metric, method, pair.seeds) for method in (pair.first, pair.second))
        predictions = self._predictions
        if pair.interval != "two_way" or a is None or b is None or predictions is None or not predictions.case_ids:
            return None
        order = np.argsort(np.array(predictions.case_ids))
        groups = None if predictions.groups is None else by_appearance(predictions.groups[order])
        names = tuple(predictions.case_ids[place] for place in order)
        return CaseDifferences(pair.seeds, names, groups, (a - b)[:, order])

    def _difference(
        self, metric: str, first: str, second: str, seeds: tuple[int, ...], over_seeds: FloatArray
    ) -> tuple[Interval, Estimate, tuple[Caution, ...]]:
        """The widest claim that the data allow, and what kept it from being wider."""
        a, b = self._table(metric, first, seeds), self._table(metric, second, seeds)
        if a is not None and b is not None:
            return "two_way", self._two_way(a - b), ()
        tried = self._predictions is not None and {first, second} <= self._tables.keys()
        why = undefined(metric, self._predictions) if self._predictions is not None and tried else None
        return "t_over_seeds", mean_over_seeds(over_seeds, self.confidence), _present(seeds_only(), why)

    def _two_way(self, table: FloatArray) -> TwoWay:
        groups = self._predictions.groups if self._predictions is not None else None
        return two_way(table, groups, self.confidence)

    def _table(self, metric: str, method: str, seeds: tuple[int, ...]) -> FloatArray | None:
        """Values of a metric, shape (seeds, cases); None where the predictions do not give them."""
        predictions = self._predictions
        known = predictions.logits.get(method, {}) if predictions is not None else {}
        if predictions is None or predictions.units < 2 or not set(seeds) <= set(known):
            return None
        whole = tuple(sorted(known))
        if method not in self._tables:
            # All metrics at once: they share the probabilities, which need not be kept then.
            logits = np.stack([known[seed] for seed in whole])
            self._tables[method] = case_values(self.metrics, logits, predictions)
        table = self._tables[method].get(metric)
        if table is None or seeds == whole:
            return table
        # A row depends on its own seed alone.
        return table[[whole.index(seed) for seed in seeds]]

    def _score(self, metric: str, method: str) -> MethodScore:
        values = self._cells[method].scores.get(metric, {})
        seeds = tuple(sorted(values))
        if method not in self._copies.constant:
            seeds = self._copies.independent((method,), seeds)
        defined = tuple(value for seed in seeds if (value := values[seed]) is not None)
        numbers = defined if len(defined) == len(seeds) else ()
        table = self._table(metric, method, seeds) if numbers else None
        both = None if table is None or len(numbers) < 2 else self._two_way(table)
        bounds = self._plan.facts(metric).bounds
        over_seeds = mean_over_seeds(np.array(numbers), self.confidence) if len(numbers) > 1 else None
        usable = both is not None and both.standard_error is not None
        squares = both.mean_squares if both is not None and usable else None
        return MethodScore(
            dataset=self.dataset,
            method=method,
            metric=metric,
            seeds=seeds,
            values=numbers,
            collapsed=tuple(seeds[place] for place in self._collapsed(metric, numbers, table)),
            over_seeds=None if over_seeds is None else within_range(over_seeds, bounds),
            over_both=None if both is None else within_range(both, bounds),
            spread=None if squares is None else split_variance(squares.components, squares.seeds, squares.cases),
        )

    def _collapsed(self, metric: str, values: Sequence[float], table: FloatArray | None) -> list[int]:
        """Positions of the seeds that learned next to nothing."""
        if not values or metric != self._plan.metric or self._chance is None:
            return []
        errors = None if table is None else (table.std(axis=1, ddof=1) / np.sqrt(table.shape[1])).tolist()
        return collapsed_seeds(values, self._chance, errors)

    def _without(self, metric: str, first: str, second: str, *cautions: Caution | None) -> Pair:
        return Pair(
            dataset=self.dataset, metric=metric, first=first, second=second, seeds=(), cautions=_present(*cautions)
        )


def _present(*cautions: Caution | None) -> tuple[Caution, ...]:
    return tuple(dict.fromkeys(caution for caution in cautions if caution is not None))
