"""The predictions that lie in the trials' folders of runs, read dataset by dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.comparison.evidence import Cell, Predictions, SplitImages
from analysis.runs.opened import OpenRun
from analysis.runs.predictions import PredictionSource, read_predictions
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder


@dataclass(frozen=True, slots=True)
class StoredSplit:
    """Where the sides of a split are recorded."""

    run: Path
    dataset: str
    name: int | None
    """Which of several splits; None for the one of the dataset."""

    def sides(self) -> tuple[list[str], list[str]]:
        """Case ids of the training side and of the test side."""
        sides = RunDirectory(self.run).split(self.dataset, self.name)
        return sides["train"], sides["test"]


@dataclass(frozen=True, slots=True)
class StoredPredictions:
    """Reads the predictions of one dataset from its trials' folders; unlike a closure it can go to another process.

    Where replicates have several splits, these are the predictions on the first replicate's.
    """

    cells: Mapping[tuple[str, str], Cell]
    base: Path
    classes: Mapping[str, tuple[str, ...]]
    one_side: frozenset[str] = frozenset()
    """Datasets whose test side is the same on every split."""

    def __call__(self, dataset: str) -> Predictions | None:
        """The predictions on the first replicate's split, or on that of all where they have the same test side."""
        return self.on(dataset, None)

    def on(self, dataset: str, split: str | None) -> Predictions | None:
        """The predictions on one split; None for that of the first replicate."""
        return read_predictions(list(self._sources(dataset, split)), self.classes.get(dataset))

    def of(self, methods: Sequence[str]) -> StoredPredictions:
        """The same of some methods alone."""
        return replace(self, cells={key: cell for key, cell in self.cells.items() if key[1] in methods})

    def _sources(self, dataset: str, split: str | None) -> Iterator[PredictionSource]:
        for (name, method), cell in self.cells.items():
            if name == dataset:
                shown = cell.splits.get(min(cell.splits, default=0)) if split is None else split
                for seed in cell.seeds:
                    if cell.splits.get(seed) == shown or (split is None and dataset in self.one_side):
                        folder = TrialFolder(self.base / cell.origins[seed], "confirm")
                        yield PredictionSource(method, seed, folder.predictions, cell.scores["accuracy"][seed])


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Reads the predictions of one dataset on every split, and which training images the splits share."""

    stored: StoredPredictions
    splits: Mapping[str, Mapping[str, StoredSplit]]
    """Dataset → digest of a split → where it is recorded."""

    def __call__(self, dataset: str) -> SplitImages | None:
        """None where all replicates share a split, and where predictions or sides of one of several are not usable."""
        cells = [cell for (name, _), cell in self.stored.cells.items() if name == dataset]
        used = sorted({cell.splits[seed] for cell in cells for seed in cell.seeds if seed in cell.splits})
        known = self.splits.get(dataset, {})
        if len(used) < 2 or not set(used) <= known.keys():
            return None
        predictions = {}
        for split in used:
            found = self.stored.on(dataset, split)
            # What is wrong with predictions leaves the narrower interval, which needs scores alone.
            if found is None or found.cautions or not found.case_ids:
                return None
            predictions[split] = found
        try:
            sides = {split: known[split].sides() for split in used}
        except FileNotFoundError:
            return None
        return SplitImages(predictions=predictions, trained=_shared(sides))


def _shared(sides: Mapping[str, tuple[list[str], list[str]]]) -> dict[tuple[str, str], float]:
    """Two splits → what they share by training (``SplitImages.trained``).

    Args:
        sides: of each split, case ids of the training side and of the test side.
    """
    every = np.unique(np.concatenate([np.array(side) for both in sides.values() for side in both]))

    def weights(which: int) -> npt.NDArray[np.float64]:
        member = np.stack([np.isin(every, np.array(both[which])) for both in sides.values()]).astype(np.float64)
        shares: npt.NDArray[np.float64] = member / member.sum(axis=1, keepdims=True)
        return shares

    trained, tested = weights(0), weights(1)
    shares = trained @ trained.T + trained @ tested.T + tested @ trained.T
    names = list(sides)
    return {(one, other): float(shares[a, b]) for a, one in enumerate(names) for b, other in enumerate(names)}


def splits_in(parts: Sequence[OpenRun]) -> dict[str, dict[str, StoredSplit]]:
    """Dataset → digest → where the splits of runs are recorded."""
    found: dict[str, dict[str, StoredSplit]] = {}
    for part in parts:
        for label, card in part.cards.items():
            digest = card["split"].get("digest")
            if digest is not None:
                found.setdefault(label, {})[digest] = StoredSplit(part.run.path, label, None)
        for (label, _), searches in part.studies.items():
            for one in (one for search in searches for one in search.get("replicates", ())):
                found.setdefault(label, {})[one["digest"]] = StoredSplit(part.run.path, label, one["split"])
    return found
