"""What the data of one dataset say of each method and each pair of methods, before any correction for their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import combinations

import numpy as np

from analysis.comparison.case_values import tables_of, undefined
from analysis.comparison.copies import copies_on
from analysis.comparison.draws import Replicates, few_draws, replicates_of, split_apart, splits_of
from analysis.comparison.evidence import Evidence, Predictions, SplitImages, by_appearance
from analysis.comparison.one_source import CaseDifferences
from analysis.comparison.scores import Interval, MethodScore, Pair, drawn_by, interval_over_splits
from analysis.comparison.split_values import split_values
from analysis.stats.case_sets import mean_over_sets
from analysis.stats.cautions import (
    Caution,
    few_cases,
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
from analysis.stats.collapse import collapsed_seeds
from analysis.stats.effects import paired_effects
from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds, paired_differences
from analysis.stats.paired import MOST_PAIRS, sign_flip, wilcoxon
from analysis.stats.ranges import difference_within_range, over_new_cases, within_range
from analysis.stats.resampled import mean_over_searches, mean_over_splits, mean_within_splits
from analysis.stats.split_cautions import different_splits, few_splits
from analysis.stats.twoway import TwoWay, by_group, two_way
from analysis.stats.variance import split_variance


class DatasetValues:
    """The scores, and where there are predictions the tables of seeds × cases, of one dataset's methods.

    Args:
        evidence: of the comparison.
        dataset: which; its predictions are read once and kept as long as this object.

    Raises:
        ValueError: replicates have several splits, and the evidence does not say by how much these overlap.
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
        self.splits = splits_of(self._cells)
        """The splits that its replicates draw; empty where they have one. Predictions are those of the first."""
        if self.splits and dataset not in evidence.overlap:
            raise ValueError(f"{dataset} has several splits, and the evidence lacks their overlap")
        self.overlap = evidence.overlap.get(dataset, 0.0)
        self._predictions = evidence.predictions(dataset)
        self._copies = copies_on(self._cells, self._predictions)
        self._tables: dict[str, Mapping[str, FloatArray]] = {}
        self.of_one_side = dataset in evidence.one_test_side
        """Whether all replicates are scored on the same cases, even where they draw splits."""
        self._scored = evidence.scored.get(dataset, "")
        self.in_order = [method for method in evidence.methods if method in self._cells]
        """Its methods in the order of the sweep file."""
        self._read = partial(evidence.images, dataset)
        several = bool(self.splits)
        self._on_splits = split_values(lambda: self.images, self._cells, self._plan) if several else None

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """Reservations about the test cases and about trainings that are copies."""
        copied = tuple(dict.fromkeys(self._copies.of(*self.methods)))
        if self.splits:
            # No interval rests on single cases there.
            own = () if self._predictions is None else self._predictions.cautions
            return (*own, *_present(few_splits(len(self.splits))), *copied)
        if self._predictions is None:
            return copied
        few = few_cases(
            self._predictions.units_of_classes, "test case" if self._predictions.groups is None else "group"
        )
        return (*self._predictions.cautions, *(() if few is None else (few,)), *copied)

    @cached_property
    def images(self) -> SplitImages | None:
        """What they predicted on every split, read once; None where all replicates share one, or little is known."""
        return self._read()

    @property
    def predictions(self) -> Predictions | None:
        """What the methods predicted for the test cases."""
        return self._predictions

    def independent(self, methods: Sequence[str], seeds: Sequence[int]) -> tuple[int, ...]:
        """Those of the ascending seeds that are no copies of another training."""
        return self._copies.independent(methods, seeds)

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
        shared = sorted(set(own) & set(other))
        apart = split_apart(a, b, shared)
        whole = self._copies.independent((first, second), [seed for seed in shared if seed not in apart])
        seeds = whole[part]
        undefined = [seed for seed in seeds if own[seed] is None or other[seed] is None]
        said = [
            *self._copies.of(first, second),
            different_splits(apart),
            unequal_seeds(sorted(own), sorted(other)),
            mixed_devices(sorted({*a.devices, *b.devices})),
        ]
        if not seeds:
            where = " on the same split" if apart else ""
            return self._without(metric, first, second, nothing_in_common(f"no seed is done in both{where}"), *said)
        if undefined:
            return self._without(metric, first, second, undefined_scores(metric, undefined), *said)
        if len(seeds) < 2:
            return self._without(metric, first, second, few_seeds(len(seeds)), *said)
        replicates = replicates_of((a, b), seeds)
        x, y = (np.array([values[seed] for seed in seeds], dtype=np.float64) for values in (own, other))
        differences = paired_differences(x, y)
        interval, estimate, over_both = self._difference(metric, first, second, seeds, differences, replicates)
        bounds = self._plan.facts(metric).bounds
        estimate = difference_within_range(estimate, bounds)
        over_seeds = self._over_seeds(differences, replicates)
        exact = few_seeds_for_exact_test(len(seeds)) is None and len(seeds) <= MOST_PAIRS and replicates.alone
        every = replicates_of((a, b), whole)
        # Of several splits or searches a part of the seeds may have one alone, which carries no verdict beside theirs.
        draws = replicates.independent if every.drawn == replicates.drawn else 1
        said += [
            *few_draws(every, replicates, draws),
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
            replicates=draws,
            splits=len(set(replicates.splits)),
            cases=self._predictions.cases if self._predictions and self._by_case(interval) else None,
            interval=interval,
            drawn=drawn_by(interval, replicates, self._scored),
            estimate=estimate,
            over_seeds=None if over_seeds is None else difference_within_range(over_seeds, bounds),
            effects=paired_effects(x, y),
            sign_flip=flips,
            wilcoxon=ranks,
            repeat_noise=max((one.change.get(metric, 0.0) for one in (*a.repeats, *b.repeats)), default=0.0),
            cautions=_present(*said, *estimate.cautions),
        )

    def by_case(self, pair: Pair) -> CaseDifferences | None:
        """The table behind a pair's two-way interval, its cases in the order of their names; None without either, and
        where replicates share a search.
        """
        predictions = self._predictions
        if pair.interval != "two_way" or predictions is None or not predictions.case_ids:
            return None
        if pair.replicates < len(pair.seeds):
            return None
        a, b = (self.table(pair.metric, method, pair.seeds) for method in (pair.first, pair.second))
        if a is None or b is None:
            return None
        order = np.argsort(np.array(predictions.case_ids))
        groups = None if predictions.groups is None else by_appearance(predictions.groups[order])
        names = tuple(predictions.case_ids[place] for place in order)
        return CaseDifferences(pair.seeds, names, groups, (a - b)[:, order])

    def _difference(
        self,
        metric: str,
        first: str,
        second: str,
        seeds: tuple[int, ...],
        differences: FloatArray,
        replicates: Replicates,
    ) -> tuple[Interval, Estimate, tuple[Caution, ...]]:
        """The widest claim that the data allow, and what kept it from being wider."""
        if replicates.several_splits:
            by_image = None if self._on_splits is None else self._on_splits.difference(metric, first, second, seeds)
            if by_image is not None:
                return "over_images", by_image, ()
            a, b = (self._of_one_side(metric, method, seeds) for method in (first, second))
            both = None if a is None or b is None else a - b
            return interval_over_splits(replicates), self.over_splits(differences, replicates, both), ()
        a, b = self.table(metric, first, seeds), self.table(metric, second, seeds)
        if a is not None and b is not None:
            return "two_way", self._two_way(replicates.rows(a - b)), ()
        tried = self._predictions is not None and {first, second} <= self._tables.keys()
        why = undefined(metric, self._predictions) if self._predictions is not None and tried else None
        over_seeds = mean_over_seeds(replicates.rows(differences), self.confidence)
        return "t_over_seeds", over_seeds, _present(seeds_only(), why)

    def over_splits(self, values: FloatArray, replicates: Replicates, table: FloatArray | None = None) -> Estimate:
        """The mean over replicates on several splits.

        Args:
            values: one a replicate.
            replicates: how they depend on one another.
            table: the same by case, shape (replicates, cases), where all splits are scored on the same cases, whose
                variation then comes on top of that between splits.
        """
        splits, searches = replicates.splits, replicates.searches
        if searches is not None and replicates.across_splits:
            rows = mean_over_searches(values, splits, searches, self.overlap, self.confidence)
        else:
            rows = mean_over_splits(values, splits, self.overlap, self.confidence)
        return rows if table is None else mean_over_sets(rows, [self.by_unit(table, replicates)], self.confidence)

    def by_unit(self, table: FloatArray, replicates: Replicates) -> FloatArray:
        """Values by independent row and unit: what cases of one group, and replicates of one split or search, share.

        Args:
            table: shape (replicates, cases).
            replicates: how these depend on one another.
        """
        groups = self._predictions.groups if self._predictions is not None else None
        own = table if groups is None else by_group(table, groups)
        if not replicates.several_splits:
            return replicates.rows(own)
        places = {split: place for place, split in enumerate(dict.fromkeys(replicates.splits))}
        return by_group(own.T, np.array([places[split] for split in replicates.splits])).T

    def _of_one_side(self, metric: str, method: str, seeds: tuple[int, ...]) -> FloatArray | None:
        """As ``table``, where the replicates of several splits have the same test cases."""
        return self.table(metric, method, seeds) if self.of_one_side else None

    def _by_case(self, interval: Interval) -> bool:
        return interval == "two_way" or (self.of_one_side and interval in ("over_splits", "over_searches"))

    def _over_seeds(self, values: FloatArray, replicates: Replicates) -> Estimate | None:
        """The narrower claim, about these very test cases."""
        if replicates.several_splits:
            return mean_within_splits(values, replicates.splits, self.confidence)
        return mean_over_seeds(replicates.rows(values), self.confidence)

    def _two_way(self, table: FloatArray) -> TwoWay:
        groups = self._predictions.groups if self._predictions is not None else None
        return two_way(table, groups, self.confidence)

    def table(self, metric: str, method: str, seeds: tuple[int, ...]) -> FloatArray | None:
        """Values of a metric, shape (seeds, cases); None where the predictions do not give them."""
        predictions = self._predictions
        whole = () if predictions is None else predictions.seeds_of(method)
        if predictions is None or predictions.units < 2 or not set(seeds) <= set(whole):
            return None
        if method not in self._tables:
            # All metrics at once: they share the probabilities, which need not be kept then.
            self._tables[method] = tables_of(self.metrics, predictions, method)
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
        replicates = replicates_of((self._cells[method],), seeds)
        of_one = self._of_one_side(metric, method, seeds) if numbers and replicates.several_splits else None
        table = self.table(metric, method, seeds) if numbers and not replicates.several_splits else None
        both = None if table is None or len(numbers) < 2 else self._two_way(replicates.rows(table))
        bounds = self._plan.facts(metric).bounds
        over_seeds = self._over_seeds(np.array(numbers), replicates) if len(numbers) > 1 else None
        over_splits = over_images = None
        if numbers and replicates.several_splits:
            over_images = None if self._on_splits is None else self._on_splits.score(metric, method, seeds)
            over_splits = over_images or self.over_splits(np.array(numbers), replicates, of_one)
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
            over_both=None if both is None else over_new_cases(both, bounds),
            over_splits=None if over_splits is None else within_range(over_splits, bounds),
            by_image=over_images is not None,
            replicates=replicates,
            spread=None if squares is None else split_variance(squares.components, squares.seeds, squares.cases),
            scored=self._scored,
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
