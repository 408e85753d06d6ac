"""Results and predictions brought together, one method on one dataset at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.comparison.evidence import Cell, Predictions
from analysis.imported.merged_draws import MergedDraws
from analysis.imported.predictions import PredictionTable
from analysis.imported.results import ImportedResults, TableTrial
from analysis.stats.cautions import Caution
from analysis.stats.estimate import FloatArray
from harness.core.errors import RequestError, suggestion
from harness.metrics.table import built_in, evaluate, known_by_case

TOLERANCE = 1e-6
"""Distance at which a value of the table and that of the predictions still count as the same."""

_Scored = Mapping[tuple[str, int], tuple[FloatArray, npt.NDArray[np.int64]]]
"""(method, seed) → logits and the labels of their cases."""


class MergedTables:
    """Both tables, one of which may be missing.

    Args:
        results: what the table of results says.
        source: the table of predictions.
        metric: the primary one; a built-in one that is not computed wherever there are predictions is then computed.

    Raises:
        RequestError: the predictions name a method or dataset that the results do not have, or as for ``MergedDraws``.
    """

    def __init__(
        self, results: ImportedResults | None, source: PredictionTable | None, metric: str | None = None
    ) -> None:
        self.results, self.source = results, source
        named = {metric, *(() if results is None else results.metrics)}
        self._further = [one for name, one in known_by_case().items() if one.on_request and name in named]
        self.overlap: dict[str, float] = {}
        """Dataset → test images for each training image, where it has several splits; filled by ``cells_of``."""
        self.classes: dict[str, tuple[str, ...]] = {}
        """Dataset → its classes, where a case has one of them; filled by ``cells_of``."""
        # Metric → decimals of the table, where its values are those of the predictions but rounded.
        self._rounded: dict[str, int] = {}
        # Dataset → the split whose predictions alone the analysis is given.
        self._shown: dict[str, str] = {}
        self._unseen: list[Caution] = []
        listed = () if self.source is None else self.source.trials
        self._predicted: dict[tuple[str, str], list[int]] = {}
        for method, dataset, seed in listed:
            self._predicted.setdefault((dataset, method), []).append(seed)
        if self.results is None:
            self.methods = tuple(dict.fromkeys(method for method, _, _ in listed))
            self.datasets = tuple(dict.fromkeys(dataset for _, dataset, _ in listed))
        else:
            self.methods, self.datasets = self.results.methods, self.results.datasets
        for dataset, method in self._predicted:
            for what, word, known in (("method", method, self.methods), ("dataset", dataset, self.datasets)):
                if word not in known:
                    raise RequestError(
                        f"{self.files[1]}: {self.files[0].name} has no {what} {word!r}{suggestion(word, known)}"
                    )
        self._draws = MergedDraws([(part.path, part.draws) for part in (results, source) if part is not None])

    @property
    def files(self) -> list[Path]:
        """Those that there are, the results first."""
        return [part.path for part in (self.results, self.source) if part is not None]

    def predictions_of(self, dataset: str) -> Predictions | None:
        """Reads the predictions of one dataset; of several splits, those of the first that has any."""
        return next(iter(self._by_split(dataset).values()), None)

    def _by_split(self, dataset: str) -> dict[str | None, Predictions]:
        return {} if self.source is None else self.source.read(dataset, self._draws.splits_of(dataset))

    def cells_of(self, dataset: str) -> dict[str, Cell]:
        """Every method that the tables have on a dataset.

        Raises:
            RequestError: the tables contradict each other, or a cell of the predictions is not what it should be.
        """
        by_split = self._by_split(dataset)
        first = next(iter(by_split.values()), None)
        if first is not None and first.labels.ndim == 1:
            self.classes[dataset] = first.classes
        cases = {split: own.cases for split, own in by_split.items() if split is not None}
        overlap = self._draws.overlap(dataset, cases)
        if overlap is not None:
            self.overlap[dataset] = overlap
        if len(cases) > 1:
            self._shown[dataset] = next(iter(cases))
        unseen = [one for own in list(by_split.values())[1:] for one in own.cautions]
        self._unseen += [replace(one, sentence=f"{dataset}: {one.sentence}") for one in unseen]
        scored = {
            (method, seed): (logits, own.labels)
            for own in by_split.values()
            for method, by_seed in own.logits.items()
            for seed, logits in by_seed.items()
        }
        trials = {} if self.results is None else self.results.trials
        known = [
            method for method in self.methods if (dataset, method) in trials or (dataset, method) in self._predicted
        ]
        return {method: self._cell(dataset, method, trials.get((dataset, method), {}), scored) for method in known}

    def _cell(self, dataset: str, method: str, trials: Mapping[int, TableTrial], scored: _Scored) -> Cell:
        predicted = self._predicted.get((dataset, method), [])
        failures = {seed: "failed" for seed, trial in trials.items() if trial.failed}
        both = sorted(set(failures) & set(predicted))
        if both:
            raise RequestError(
                f"{self.files[1]}: {method} on {dataset}, seed {both[0]}, has predictions, but the results say that it "
                "failed; keep the one or the other"
            )
        scores: dict[str, dict[int, float | None]] = {}
        overruled: dict[str, list[int]] = {}
        for seed in sorted({*trials, *predicted} - set(failures)):
            values = dict(trials[seed].values) if seed in trials else {}
            if (method, seed) in scored:
                found = evaluate(*scored[method, seed], further=self._further)
                for metric in (metric for metric in built_in() if metric in found):
                    if metric in values and not self._agree(metric, values[metric], found[metric]):
                        raise RequestError(_conflict(self.files[0], (method, dataset, seed, metric), values, found))
                    if values.get(metric) is not None and found[metric] is None:
                        overruled.setdefault(metric, []).append(seed)
                    values[metric] = found[metric]
            for metric, value in values.items():
                scores.setdefault(metric, {})[seed] = value
        file = self.files[-1].name
        return Cell(
            dataset=dataset,
            method=method,
            declared=tuple(sorted({*trials, *predicted})),
            scores=scores,
            failures=failures,
            origins={seed: trials[seed].place if seed in trials else file for seed in sorted({*trials, *predicted})},
            splits={seed: split for (own, seed), split in self._draws.splits_of(dataset).items() if own == method},
            searches=self._draws.searches_of(dataset, method),
            cautions=tuple(self._reservations(trials, predicted, overruled)),
        )

    def _agree(self, metric: str, given: float | None, computed: float | None) -> bool:
        """Whether the table may mean what the predictions give; where those leave it undefined, they have the word."""
        if given is None or computed is None:
            return computed is None
        decimals = 0 if self.results is None else self.results.decimals[metric]
        distance = abs(given - computed)
        if distance > TOLERANCE and decimals >= 2 and distance <= 0.5000001 * 10.0**-decimals:
            self._rounded[metric] = decimals
            return True
        return distance <= TOLERANCE

    def _reservations(
        self, trials: Mapping[int, TableTrial], predicted: Sequence[int], overruled: Mapping[str, Sequence[int]]
    ) -> Iterator[Caution]:
        """What has to be said of one method on one dataset."""
        done = {seed: trial for seed, trial in sorted(trials.items()) if not trial.failed}
        without = [seed for seed in done if seed not in predicted]
        if self.source is not None and without:
            yield Caution(
                "missing_predictions",
                f"There are no predictions of {_seeds(without)}, so comparisons that need them cover seeds alone.",
            )
        for metric in () if self.results is None else self.results.metrics:
            undefined = [seed for seed, trial in done.items() if trial.values.get(metric, 0.0) is None]
            if undefined:
                yield Caution("undefined_values", f"The table says n/a for {metric} of {_seeds(undefined)}.")
            absent = [seed for seed, trial in done.items() if metric not in trial.values]
            if absent and not (metric in known_by_case() and set(absent) <= set(predicted)):
                yield Caution(
                    "missing_values", f"The table has no {metric} of {_seeds(absent)}, only other metrics of the trial."
                )
        for metric, seeds in overruled.items():
            yield Caution(
                "undefined_values",
                f"The table gives {metric} of {_seeds(seeds)}, but a class has no test case there and the metric no "
                "value; it is not used.",
            )

    def cautions(self) -> Iterator[Caution]:
        """Reservations about both tables, once all cells are read."""
        yield from self._draws.cautions()
        if self._shown:
            listed = " and ".join(f"split {split} of {dataset}" for dataset, split in self._shown.items())
            yield Caution(
                "one_split_shown",
                f"Figures and counts of test cases are of {listed} alone, the first in the table; scores are of all "
                "splits.",
            )
        yield from self._unseen
        if self.source is not None and not self.source.grouped:
            yield Caution(
                "ungrouped_cases",
                "The predictions have no column 'group' that says which cases share a patient or lesion, so each case "
                "counts as independent; if some do share one, intervals are too narrow.",
            )
        for metric, decimals in self._rounded.items():
            yield Caution(
                "rounded_values",
                f"{metric} in the table is rounded to {decimals} decimals; the values that the predictions give are "
                "used instead.",
            )


def _conflict(
    file: Path,
    place: tuple[str, str, int, str],
    values: Mapping[str, float | None],
    found: Mapping[str, float | None],
) -> str:
    method, dataset, seed, metric = place
    given, computed = ("undefined" if one[metric] is None else f"{one[metric]:.8g}" for one in (values, found))
    return (
        f"{file}: the {metric} of {method} on {dataset}, seed {seed}, is {given}, but its predictions give {computed}; "
        "remove its rows to have it computed, or rename it if it is another metric"
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
