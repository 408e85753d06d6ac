"""The designs of a confirmation: which searches its replicates take their configurations from, and on which splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Splits = Literal["one", "random", "folds"]
"""All replicates on the split of the searches; a random split each; a fold each, the first of which is that split."""
FEWEST_TO_AVERAGE = 3
"""Searches that an analysis by searches needs: with two it would have one degree of freedom."""


@dataclass(frozen=True, slots=True)
class Design:
    """One way to confirm a method, whatever the number of trials and replicates."""

    name: str
    searches: int | None
    """Independent searches; None for one a replicate."""
    resampled: bool
    """Whether each of several replicates of a search takes the choice of a bootstrap of its slots, not the best."""
    splits: Splits
    nested: bool = False
    """Whether each search is on a split of its own, which its replicates share, not all on the first."""
    letter: str = ""
    """Its name in the first experiment, where it had one."""

    def count(self, replicates: int) -> int:
        """How many searches there are."""
        return replicates if self.searches is None else self.searches

    def cost(self, trials: int, replicates: int) -> int:
        """Trainings of a method, search and confirmation together."""
        return self.count(replicates) * trials + replicates

    def possible(self, replicates: int) -> bool:
        """Whether it is a design of its own: with one replicate a search it is the one with a search a replicate."""
        return self.searches is None or self.searches == 1 or self.searches < replicates

    def draws(self, replicate: int, replicates: int) -> tuple[int, bool]:
        """The search of a replicate, and whether it takes the choice of a bootstrap of its slots."""
        count = self.count(replicates)
        search = replicate % count
        return search, self.resampled and replicates - search > count

    def split(self, replicate: int) -> int:
        """Which split a replicate is on; the searches are on the first if they are not nested."""
        if self.splits == "one":
            return 0
        return replicate % self.searches if self.nested and self.searches is not None else replicate

    def groups(self, replicates: int) -> list[int]:
        """The search of each replicate."""
        return [self.draws(replicate, replicates)[0] for replicate in range(replicates)]

    def by_search(self, replicates: int) -> bool:
        """Whether its replicates can be averaged within searches, and the searches be analysed."""
        return FEWEST_TO_AVERAGE <= self.count(replicates) < replicates


def _designs() -> Iterator[Design]:
    ways = {"one": "one split", "random": "new splits", "folds": "folds"}
    splits: Splits
    for splits in ("one", "random", "folds"):
        way = ways[splits]
        letters = ("A", "B") if splits == "one" else ("D", "E")
        for resampled, letter in zip((False, True), letters, strict=True):
            how = "choices of bootstraps" if resampled else "its choice"
            yield Design(f"1 search, {how}, {way}", 1, resampled, splits, letter=letter)
        several = "C" if splits == "one" else "ER"
        for count in (2, 3, 5):
            yield Design(
                f"{count} searches, choices of bootstraps, {way}", count, True, splits, letter=f"{several}{count}"
            )
        for count in (5, 10):
            yield Design(f"{count} searches, their choices, {way}", count, False, splits, letter=f"{several}{count}'")
        yield Design(f"a search a replicate, {way}", None, False, splits, letter=f"{several}N")
        if splits != "one":
            yield Design(f"a search on each, {way}", None, False, splits, nested=True, letter="F")
            yield Design(f"a search on each of 5, several seeds, {way}", 5, False, splits, nested=True, letter="F5")


DESIGNS = tuple(_designs())
