"""The predictions of an evaluation that lie in the trials' folders, brought to one order of cases and averaged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.comparison.case_values import case_values
from analysis.comparison.evidence import (
    Averaged,
    Cell,
    Predictions,
    SplitImages,
    by_appearance,
    no_images,
)
from analysis.comparison.shifts import ShiftTables
from analysis.runs.predictions import PredictionSource, read_predictions
from analysis.stats.cautions import Caution
from analysis.stats.estimate import FloatArray
from harness.run.trial import ReplacedFileError, TrialFolder

if TYPE_CHECKING:
    import polars as pl

Part = tuple[str, int]
"""Set and severity."""
Values = dict[str, FloatArray]
"""Metric → value of each case."""


@dataclass(slots=True, eq=False)
class StoredShift:
    """Reads the evaluation of one dataset from its trials' folders, a trial at a time: they are large."""

    cells: Mapping[tuple[str, str], Cell]
    base: Path
    classes: Mapping[str, tuple[str, ...]]
    metrics: tuple[str, ...]
    evaluation: str
    wanted: Sequence[Part]
    one_side: frozenset[str]
    """Datasets of which all replicates are scored on the same cases, even where they draw splits."""
    of_test: Callable[[str], SplitImages | None] = no_images
    """Reads the predictions for the test side of every split, and what the splits share by training."""
    _last: tuple[str, ShiftTables | None] | None = field(default=None, init=False)

    def __call__(self, dataset: str) -> Predictions | None:
        """The means over all sets."""
        found = self.parts(dataset)
        return None if found is None else found.predictions

    def parts(self, dataset: str) -> ShiftTables | None:
        """All sets; None where replicates on several splits have cases of their own, and without any predictions."""
        if self._last is None or self._last[0] != dataset:
            self._last = (dataset, self._read(dataset))
        return self._last[1]

    def _read(self, dataset: str) -> ShiftTables | None:
        cells = {method: cell for (name, method), cell in self.cells.items() if name == dataset}
        splits = {cell.splits.get(seed) for cell in cells.values() for seed in cell.seeds}
        if len(splits) > 1 and dataset not in self.one_side:
            return None
        trials = self._trials(dataset)
        # On each split an external set is without the copies of images that are trained on there.
        common = _common(self.evaluation, trials.values()) if len(splits) > 1 else None
        return self._tables(dataset, trials, common)

    def images(self, dataset: str) -> SplitImages | None:
        """The means over all sets on every split; None as for those of the test side, or where one is not usable."""
        of_test = self.of_test(dataset)
        if of_test is None:
            return None
        found = {}
        for split in of_test.predictions:
            own = {
                (method, seed): trial
                for (method, seed), trial in self._trials(dataset).items()
                if self.cells[dataset, method].splits.get(seed) == split
            }
            parts = self._tables(dataset, own, None)
            # What is wrong with predictions leaves the narrower interval, which needs scores alone.
            if parts is None or parts.predictions.cautions:
                return None
            found[split] = parts.predictions
        return SplitImages(predictions=found, trained=of_test.trained)

    def _trials(self, dataset: str) -> dict[tuple[str, int], TrialFolder]:
        return {
            (method, seed): TrialFolder(self.base / cell.origins[seed], "confirm")
            for (name, method), cell in self.cells.items()
            if name == dataset
            for seed in cell.seeds
        }

    def _tables(
        self, dataset: str, trials: Mapping[tuple[str, int], TrialFolder], common: frozenset[str] | None
    ) -> ShiftTables | None:
        reader = _Reader(self.evaluation, self.wanted, self.metrics, self.classes.get(dataset), common)
        for (method, seed), trial in trials.items():
            reader.add(method, seed, trial)
        return reader.parts()


class _Unlike(Exception):
    """A trial whose predictions cannot be used; the message is a clause."""


class _Reader:
    """Collects trials whose cases are the same."""

    def __init__(
        self,
        evaluation: str,
        wanted: Sequence[Part],
        metrics: Sequence[str],
        classes: Sequence[str] | None,
        common: frozenset[str] | None,
    ) -> None:
        self._common = common
        """Cases to which all are restricted; None for all that there are."""
        self._evaluation, self._wanted = evaluation, tuple(wanted)
        self._metrics, self._classes = metrics, classes
        self._cases: Predictions | None = None
        self._found: dict[str, dict[int, dict[str, Values]]] = defaultdict(dict)
        """Method → seed → set → mean over severities."""
        self._refused: dict[tuple[str, str], list[int]] = defaultdict(list)

    def add(self, method: str, seed: int, trial: TrialFolder) -> None:
        """Read a trial; where that is not possible a caution says why."""
        try:
            self._found[method][seed] = self._of(method, seed, trial)
        except _Unlike as fault:
            self._refused[method, str(fault)].append(seed)

    def parts(self) -> ShiftTables | None:
        """All that was read."""
        cautions = tuple(self._caution(method, why, seeds) for (method, why), seeds in self._refused.items())
        if self._cases is None:
            return None
        sets = tuple(dict.fromkeys(name for name, _ in self._wanted))
        by_set: dict[str, dict[str, Averaged]] = {name: {} for name in sets}
        whole: dict[str, Averaged] = {}
        sizes = {name: sum(own == name for own, _ in self._wanted) for name in sets}
        for method, seeds in self._found.items():
            order = tuple(sorted(seeds))
            if not order:
                continue
            for name in sets:
                by_set[name][method] = _stacked(order, [seeds[seed][name] for seed in order])
            every = len(self._wanted)
            whole[method] = Averaged(
                order,
                {
                    metric: np.sum([sizes[name] * by_set[name][method].values[metric] for name in sets], axis=0) / every
                    for metric in by_set[sets[0]][method].values
                    if all(metric in by_set[name][method].values for name in sets)
                },
            )
        cases = self._cases
        predictions = Predictions(
            labels=cases.labels,
            classes=cases.classes,
            groups=cases.groups,
            logits={},
            case_ids=cases.case_ids,
            averaged=whole,
            cautions=cautions,
        )
        return ShiftTables(predictions=predictions, by_set=by_set)

    def _of(self, method: str, seed: int, trial: TrialFolder) -> dict[str, Values]:
        import polars as pl

        try:
            frame = trial.evaluation(self._evaluation)
        except FileNotFoundError as error:
            raise _Unlike("are not in the run directory") from error
        except ReplacedFileError as error:
            raise _Unlike("are not those that the trial's result was made with") from error
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _Unlike("cannot be read") from error
        if not {"set", "severity"} <= set(frame.columns):
            raise _Unlike("lack sets or severities")
        right = {
            (one["set"], one["severity"]): one["scores"].get("accuracy")
            for one in trial.result().get("evaluations", ())
            if one["evaluation"] == self._evaluation
        }
        found: dict[str, list[Values]] = defaultdict(list)
        for part, own in self._divided(frame):
            score = right.get(part)
            accuracy = float(score) if isinstance(score, int | float) else None
            found[part[0]].append(self._values(PredictionSource(method, seed, _given(own), accuracy)))
        return {
            name: {
                metric: np.mean([one[metric] for one in values], axis=0)
                for metric in values[0]
                if all(metric in one for one in values)
            }
            for name, values in found.items()
        }

    def _divided(self, frame: pl.DataFrame) -> Iterator[tuple[Part, pl.DataFrame]]:
        import polars as pl

        parts = {
            (str(key[0]), int(str(key[1]))): own
            for key, own in frame.partition_by("set", "severity", as_dict=True).items()
        }
        for part in self._wanted:
            if part not in parts:
                raise _Unlike(f"lack {part[0]}" + (f" at severity {part[1]}" if part[1] else ""))
            yield part, parts[part].select(pl.exclude("set", "severity"))

    def _values(self, source: PredictionSource) -> Values:
        """The metrics of one trial on one set, in the order of the first one's cases."""
        own = read_predictions([source], self._classes)
        if own is None or own.cautions or source.method not in own.logits:
            raise _Unlike("are not what the trial's result says, or are not readable")
        order = np.argsort(np.array(own.case_ids))
        if self._common is not None:
            order = np.array([place for place in order if own.case_ids[place] in self._common], dtype=np.int64)
        groups = None if own.groups is None else by_appearance(own.groups[order])
        ids, labels = tuple(own.case_ids[place] for place in order), own.labels[order]
        if self._cases is None:
            self._cases = Predictions(labels=labels, classes=own.classes, groups=groups, logits={}, case_ids=ids)
        elif not _agree(self._cases, ids, labels, groups):
            raise _Unlike("are about other cases than those of the others")
        logits = own.logits[source.method][source.seed][order]
        return {name: table[0] for name, table in case_values(self._metrics, logits[None], self._cases).items()}

    def _caution(self, method: str, why: str, seeds: Sequence[int]) -> Caution:
        named = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"
        return Caution(
            "missing_predictions",
            f"{method}: the predictions of {named} in {self._evaluation} {why}; comparisons that need them speak of "
            "retraining alone.",
        )


def _common(evaluation: str, trials: Iterable[TrialFolder]) -> frozenset[str] | None:
    """The cases that every trial has of which there are predictions; None without any."""
    import polars as pl

    found: frozenset[str] | None = None
    for trial in trials:
        try:
            own = frozenset(trial.evaluation(evaluation)["case_id"].to_list())
        except (OSError, ReplacedFileError, pl.exceptions.PolarsError):
            # Reading it again says why it is not used.
            continue
        found = own if found is None else found & own
    return found


def _given(frame: pl.DataFrame) -> Callable[[], pl.DataFrame]:
    return lambda: frame


def _stacked(seeds: tuple[int, ...], rows: Sequence[Values]) -> Averaged:
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return Averaged(seeds, {name: np.stack([row[name] for row in rows]) for name in names})


def _agree(
    cases: Predictions,
    ids: tuple[str, ...],
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64] | None,
) -> bool:
    alike = groups is None if cases.groups is None else groups is not None and np.array_equal(cases.groups, groups)
    return cases.case_ids == ids and np.array_equal(cases.labels, labels) and alike
