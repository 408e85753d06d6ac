"""What the replicates of a comparison drew anew: splits, searches, and how these go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.comparison.evidence import RESAMPLE, Cell, Evidence
from analysis.stats.cautions import Caution, few_replicates
from analysis.stats.estimate import FloatArray
from analysis.stats.split_cautions import (
    ENOUGH_TO_RESAMPLE,
    few_searches,
    few_splits,
    small_search,
    tuned_elsewhere,
)
from analysis.stats.twoway import by_group


@dataclass(frozen=True, slots=True)
class Replicates:
    """How the replicates of one method, or of the two of a pair, depend on one another.

    The two methods of a pair share the split of a seed. Their searches are their own: replicates go together where
    either method has the same search in them.
    """

    splits: tuple[str, ...] = ()
    """Split of each replicate."""
    searches: tuple[int, ...] | None = None
    """Of each replicate the set of those that share a search, numbered from 0 as they appear; None where all share one,
    which is held fixed then."""
    one_searched: bool = False
    """Whether configurations were searched on another split than their own, as far as that is known."""

    @property
    def several_splits(self) -> bool:
        """Whether new training and test sets were drawn."""
        return len(set(self.splits)) > 1

    @property
    def drawn(self) -> tuple[bool, bool]:
        """Whether new splits, and whether new searches were drawn."""
        return self.several_splits, self.searches is not None

    @property
    def across_splits(self) -> bool:
        """Whether a search serves replicates on several splits, whose means are no independent draws then."""
        served: dict[int, str] = {}
        both = zip(self.searches or (), self.splits, strict=False)
        return any(served.setdefault(search, split) != split for search, split in both)

    @property
    def shared_searches(self) -> int | None:
        """How many searches there are where several replicates share one and no split of their own sets them apart."""
        if self.searches is None or (self.several_splits and not self.across_splits):
            return None
        number = len(set(self.searches))
        return number if number < len(self.splits) else None

    @property
    def independent(self) -> int:
        """How many independent draws there are of what there are fewest of: splits, shared searches, trainings."""
        splits = len(set(self.splits)) if self.several_splits else len(self.splits)
        return splits if self.shared_searches is None else min(splits, self.shared_searches)

    @property
    def alone(self) -> bool:
        """Whether each replicate is an independent draw of all that varies, which tests over replicates suppose."""
        return not self.several_splits and self.independent == len(self.splits)

    def rows(self, table: FloatArray) -> FloatArray:
        """Values by replicate as values by independent draw, where all replicates are of one split.

        Replicates of one search are as good as one where searches are what varies: their mean is the row. Rows are
        weighed so that the mean of all stays that of the replicates, however many each search has.

        Args:
            table: shape (replicates,) or (replicates, cases).

        Returns:
            Shape (independent,) or (independent, cases).
        """
        if self.alone or self.searches is None:
            return table
        flat = table.reshape(len(table), -1)
        return by_group(flat.T, np.array(self.searches)).T.reshape(-1, *table.shape[1:])


def replicates_of(cells: Sequence[Cell], seeds: Sequence[int]) -> Replicates:
    """How the replicates of one method or of a pair go together.

    Args:
        cells: one a method; they agree about the split of each seed.
        seeds: of the replicates.
    """
    splits = tuple(cells[0].splits.get(seed, "") for seed in seeds)
    found = _together(cells, seeds)
    elsewhere = any(
        cell.tuned_on.get(seed, cell.splits.get(seed)) != cell.splits.get(seed) for cell in cells for seed in seeds
    )
    return Replicates(splits, found if found is not None and len(set(found)) > 1 else None, elsewhere)


def _together(cells: Sequence[Cell], seeds: Sequence[int]) -> tuple[int, ...] | None:
    """The set of each seed that is joined by searches; None where a method has no searches of its own."""
    if not all(seed in cell.searches for cell in cells for seed in seeds):
        return None
    place: npt.NDArray[np.int64] = np.arange(len(seeds))
    for cell in cells:
        first: dict[str, int] = {}
        for one, seed in enumerate(seeds):
            other = first.setdefault(cell.searches[seed], one)
            place[place == place[one]] = place[other]
    numbers = {own: number for number, own in enumerate(dict.fromkeys(place.tolist()))}
    return tuple(numbers[own] for own in place.tolist())


def few_draws(every: Replicates, replicates: Replicates, draws: int) -> Iterator[Caution | None]:
    """Where there is little of what varies.

    Args:
        every: of all seeds that two methods share.
        replicates: of those that are compared.
        draws: independent ones among these.
    """
    if every.several_splits:
        yield few_splits(len(set(replicates.splits)))
    if every.shared_searches is not None:
        yield few_searches(replicates.shared_searches or draws)
    elif not every.several_splits:
        yield few_replicates(draws)


def split_apart(first: Cell, second: Cell, seeds: Sequence[int]) -> tuple[int, ...]:
    """Seeds that two methods trained and tested on different splits, so that they are no pair."""
    return tuple(seed for seed in seeds if first.splits.get(seed) != second.splits.get(seed))


def cells_on(evidence: Evidence, dataset: str) -> dict[str, Cell]:
    """Method → cell of a dataset."""
    return {method: cell for (name, method), cell in evidence.cells.items() if name == dataset}


def splits_of(cells: Mapping[str, Cell]) -> tuple[str, ...]:
    """The splits of a dataset that some method has results on, in the order of the seeds; empty where there is one."""
    used = {seed: cell.splits[seed] for cell in cells.values() for seed in cell.seeds if seed in cell.splits}
    found = tuple(dict.fromkeys(used[seed] for seed in sorted(used)))
    return found if len(found) > 1 else ()


def searches_of(cells: Mapping[str, Cell]) -> int:
    """The most searches that a method of a dataset has behind its results; 1 where one choice serves all."""
    return max((len({cell.searches.get(seed) for seed in cell.seeds}) for cell in cells.values()), default=1) or 1


def tuning_cautions(cells: Mapping[str, Cell]) -> Iterator[Caution]:
    """Where configurations were tuned on another split than they were tested on, methods with as many together.

    Args:
        cells: of a dataset whose splits have other test images each; where all have the same ones, as where other
            domains are tested, no tuning has seen them.
    """
    found: dict[tuple[int, int], list[str]] = {}
    for method, cell in cells.items():
        known = [seed for seed in cell.seeds if seed in cell.tuned_on and seed in cell.splits]
        other = sum(cell.tuned_on[seed] != cell.splits[seed] for seed in known)
        if other:
            found.setdefault((other, len(cell.seeds)), []).append(method)
    for (other, seeds), methods in found.items():
        yield tuned_elsewhere(other, seeds, () if len(methods) == len(cells) else methods)


def search_cautions(cells: Mapping[str, Cell]) -> Iterator[Caution]:
    """Where replicates resample a small search, methods with searches of one size together."""
    small: dict[int, list[str]] = {}
    for method, cell in cells.items():
        resampled = any(search.startswith(RESAMPLE) for search in cell.searches.values())
        if resampled and cell.search_trials is not None and 1 < cell.search_trials < ENOUGH_TO_RESAMPLE:
            small.setdefault(cell.search_trials, []).append(method)
    for trials, methods in small.items():
        yield small_search(trials, () if len(methods) == len(cells) else methods)
