"""Differences and scores by test image on several splits, each of which has a search of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from analysis.comparison.case_values import tables_of
from analysis.comparison.evidence import Cell, DeclaredPlan, Predictions, SplitImages
from analysis.stats.estimate import FloatArray
from analysis.stats.shared_images import IntArray, OverImages, mean_over_images
from analysis.stats.twoway import by_group


class SplitValues:
    """The values of each method on each split, image by image or patient by patient.

    Args:
        images: the predictions on every split.
        cells: method → cell; they agree about the split of each seed.
        metrics: which are looked at.
        confidence: of intervals.
    """

    def __init__(
        self, images: SplitImages, cells: Mapping[str, Cell], metrics: Sequence[str], confidence: float
    ) -> None:
        self._images, self._cells = images, cells
        self._metrics, self._confidence = metrics, confidence
        self._tables: dict[tuple[str, str], Mapping[str, FloatArray]] = {}
        names: dict[str, int] = {}
        self._units = {split: _units(own, names) for split, own in images.predictions.items()}

    def difference(self, metric: str, first: str, second: str, seeds: Sequence[int]) -> OverImages | None:
        """First minus second over some seeds; None where predictions do not give the metric of all of them, and where
        splits have different numbers of them: the mean over splits would not be that over replicates.
        """

        def on_split(split: str, own: Sequence[int]) -> FloatArray | None:
            of_first, of_second = (self._of(metric, name, own, split) for name in (first, second))
            return None if of_first is None or of_second is None else of_first - of_second

        return self._interval({split: on_split(split, own) for split, own in self._by_split(first, seeds)})

    def score(self, metric: str, method: str, seeds: Sequence[int]) -> OverImages | None:
        """One method over some seeds; None as for ``difference``."""
        return self._interval(
            {split: self._of(metric, method, own, split) for split, own in self._by_split(method, seeds)}
        )

    def _by_split(self, method: str, seeds: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
        """The splits of some seeds, each with its own."""
        on = self._cells[method].splits
        for split in dict.fromkeys(on[seed] for seed in seeds):
            yield split, [seed for seed in seeds if on[seed] == split]

    def _interval(self, tables: Mapping[str, FloatArray | None]) -> OverImages | None:
        known = {split: table for split, table in tables.items() if table is not None}
        if len(known) < max(2, len(tables)) or len({len(table) for table in known.values()}) > 1:
            return None
        values, tests, cases = [], [], 0
        for split, table in known.items():
            groups = self._images.predictions[split].groups
            row = table.mean(axis=0, keepdims=True)
            values.append(row[0] if groups is None else by_group(row, groups)[0])
            tests.append(self._units[split])
            cases += row.shape[1]
        if any(len(row) < 2 for row in values):
            return None
        # Of training sides the images are known, not who is on them: as many images a patient as on the test sides.
        a_unit = cases / sum(map(len, values))
        trained = np.array([[a_unit * self._images.trained[one, other] for other in known] for one in known])
        return mean_over_images(values, tests, trained, self._confidence)

    def _of(self, metric: str, method: str, seeds: Sequence[int], split: str) -> FloatArray | None:
        """Values of a metric, shape (seeds, cases of the split)."""
        predictions = self._images.predictions[split]
        whole = predictions.seeds_of(method)
        if not set(seeds) <= set(whole):
            return None
        if (method, split) not in self._tables:
            self._tables[method, split] = tables_of(self._metrics, predictions, method)
        table = self._tables[method, split].get(metric)
        return None if table is None else table[[whole.index(seed) for seed in seeds]]


def split_values(
    read: Callable[[], SplitImages | None], cells: Mapping[str, Cell], plan: DeclaredPlan
) -> SplitValues | None:
    """The values on every split of a dataset; None unless each split has a search of its own in every method.

    A configuration that was searched on another split makes the replicates dependent in a way that no image shows.
    """
    for cell in cells.values():
        if any(seed not in cell.searches or cell.tuned_on.get(seed) != cell.splits.get(seed) for seed in cell.seeds):
            return None
        of_search: dict[str, str | None] = {}
        if any(
            of_search.setdefault(cell.searches[seed], cell.splits.get(seed)) != cell.splits.get(seed)
            for seed in cell.seeds
        ):
            return None
    images = read()
    return None if images is None else SplitValues(images, cells, plan.metrics, plan.confidence)


def _units(predictions: Predictions, names: dict[str, int]) -> IntArray:
    """The number of each independent unit of a test side, the same on every split; ``names`` is added to.

    A group is known by the first of its cases: a split keeps all of them together.
    """
    if predictions.groups is None:
        first = list(predictions.case_ids)
    else:
        of_group: dict[int, str] = {}
        for case, group in zip(predictions.case_ids, predictions.groups.tolist(), strict=True):
            of_group[group] = min(case, of_group.get(group, case))
        first = [of_group[group] for group in range(predictions.units)]
    return np.array([names.setdefault(name, len(names)) for name in first], dtype=np.int64)
