"""What a design of a given size can be exchanged for: all that costs little more and keeps its level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.calibration.designs.analyses import (
    ADDED,
    ADDED_BY_SEARCH,
    BY_SEARCH,
    CASES,
    CORRECTED,
    IMAGES,
    IMAGES_BY_SEARCH,
    STUDENT,
    TWO_WAY,
    WHOLE_SPREAD,
)
from benchmarks.calibration.designs.counts import MOST_FALSE
from benchmarks.calibration.model import Row

MOST_COST, WORTH = 2.0, 0.8
"""Trainings against today's design, and power against that of five searches, that a better design is to have."""
FEWEST_TRIALS = 6
"""Smallest search that is a target; smaller ones are looked at as parts of a larger budget."""


SHOWN = (
    ("A", "A", "one", TWO_WAY),
    ("B", "B", "one", TWO_WAY),
    ("B, whole spread", "B", "one", WHOLE_SPREAD),
    ("C2", "C2", "one", TWO_WAY),
    ("C3", "C3", "one", TWO_WAY),
    ("C5", "C5", "one", TWO_WAY),
    ("C5, by search", "C5'", "one", BY_SEARCH),
    ("C10, by search", "C10'", "one", BY_SEARCH),
    ("CN", "CN", "one", TWO_WAY),
    ("D", "D", "random", CORRECTED),
    ("E", "E", "random", CORRECTED),
    ("E, folds", "E", "folds", CORRECTED),
    ("ER2", "ER2", "random", CORRECTED),
    ("ERN, images", "ERN", "random", IMAGES),
    ("F, plain", "F", "random", STUDENT),
    ("F", "F", "random", CORRECTED),
    ("F, cases", "F", "random", CASES),
    ("F, images", "F", "random", IMAGES),
    ("F, added up", "F", "random", ADDED),
    ("F, folds, images", "F", "folds", IMAGES),
    ("F, folds, added up", "F", "folds", ADDED),
    ("F5, images", "F5", "random", IMAGES_BY_SEARCH),
    ("F5, added up", "F5", "random", ADDED_BY_SEARCH),
    ("F5, folds, images", "F5", "folds", IMAGES_BY_SEARCH),
    ("F5, folds, added up", "F5", "folds", ADDED_BY_SEARCH),
)
"""Designs with the analyses that they are judged by: name on a page, letter, splits, analysis."""
_JUDGED = {shown[1:] for shown in SHOWN if shown[3] != STUDENT}


def shown_rows(rows: Sequence[Row]) -> list[Row]:
    """All rows of the shown designs."""
    return [row for shown in SHOWN for row in of_design(rows, shown)]


def of_design(rows: Sequence[Row], shown: tuple[str, str, str, str]) -> list[Row]:
    """All sizes of one design with one analysis."""
    return [row for row in rows if _key(row) == shown[1:]]


def keeping(rows: Sequence[Row], scope: str) -> list[Row]:
    """Rows of the shown designs that keep their level: on average over sizes, and within the error of a count at each.

    A design that is at its level for one number of replicates and not for another is at it by chance, or by two faults
    that cancel.

    Args:
        rows: of the counts.
        scope: ``search`` is about twins alone; ``training sets`` also about halves, and is for designs that search on
            each of their splits.
    """
    parts = ("twins",) if scope == "search" else ("twins", "halves")
    own: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if _key(row) in _JUDGED and (scope == "search" or row["nested"]):
            own.setdefault(_key(row), []).append(row)
    return [
        row
        for sizes in own.values()
        if all(_at_level([size[part] for size in sizes]) for part in parts)
        for row in sizes
    ]


def frontier(rows: Sequence[Row], scope: str) -> list[Row]:
    """Of the designs at their level those that find more than any that is as cheap, the cheapest first."""
    steps: list[Row] = []
    for row in sorted(keeping(rows, scope), key=lambda row: (row["trainings"], -row["power"]["rate"])):
        if not steps or row["power"]["rate"] > steps[-1]["power"]["rate"]:
            steps.append(row)
    return steps


@dataclass(frozen=True, slots=True)
class Target:
    """Today's design of one size, and what might take its place."""

    trials: int
    replicates: int
    rows: Sequence[Row]
    """What was counted."""

    @property
    def today(self) -> Row:
        """One search and one split."""
        return next(row for row in self._of_size(self.rows) if row["letter"] == "A")

    @property
    def five(self) -> Row | None:
        """Five searches of that size on one split with as many replicates, by the analysis that finds most."""
        rows = [row for row in self._of_size(keeping(self.rows, "search")) if row["searches"] == 5]
        return _most(row for row in rows if row["splits"] == "one")

    def best(self, scope: str, same_search: bool = False) -> Row | None:
        """The row that finds most of those that keep their level and cost at most ``MOST_COST``.

        Args:
            scope: as of ``keeping``.
            same_search: whether searches must have as many trials; else they may have fewer.
        """
        rows = [row for row in keeping(self.rows, scope) if row["trials"] <= self.trials]
        return _most(
            row for row in rows if self.cost(row) <= MOST_COST and (not same_search or row["trials"] == self.trials)
        )

    def cost(self, row: Row) -> float:
        """Trainings of a method, those of today's design as 1."""
        return float(row["trainings"]) / (self.trials + self.replicates)

    def _of_size(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if (row["trials"], row["replicates"]) == (self.trials, self.replicates)]


def targets(rows: Sequence[Row]) -> list[Target]:
    """One for each size from ``FEWEST_TRIALS`` on, by the number of trials."""
    sizes = sorted({(row["trials"], row["replicates"]) for row in rows if row["trials"] >= FEWEST_TRIALS})
    return [Target(*size, rows) for size in sizes]


def _at_level(counts: Sequence[Row]) -> bool:
    mean = sum(count["rate"] for count in counts) / len(counts)
    return mean <= MOST_FALSE and all(count["at_level"] for count in counts)


def _key(row: Row) -> tuple[str, str, str]:
    return row["letter"], row["splits"], row["analysis"]


def _most(rows: Iterable[Row]) -> Row | None:
    return max(rows, key=lambda row: float(row["power"]["rate"]), default=None)
