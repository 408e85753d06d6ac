"""What a design of a given size can be exchanged for: all that costs little more and keeps its level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.calibration.designs.analyses import STUDENT
from benchmarks.calibration.model import Row

MOST_COST, WORTH = 2.0, 0.8
"""Trainings against today's design, and power against that of five searches, that a better design is to have."""
FEWEST_TRIALS = 6
"""Smallest search that is a target; smaller ones are looked at as parts of a larger budget."""


@dataclass(frozen=True, slots=True)
class Target:
    """Today's design of one size, and what might take its place."""

    trials: int
    replicates: int
    rows: Sequence[Row]
    """Designs with searches of at most that size, of any number of replicates."""
    five: Row | None
    """Five searches of that size with as many replicates, on one split, by the analysis that finds most of those that
    call twins different rarely enough."""

    def cost(self, row: Row) -> float:
        """Trainings of a method, those of today's design as 1."""
        return float(row["trainings"]) / (self.trials + self.replicates)

    def best(self, scope: str, same_search: bool = False) -> Row | None:
        """The row that finds most of those that cost at most twice as much and keep their level.

        Args:
            scope: ``search`` asks for twins alone, ``training sets`` also for halves, and for new splits.
            same_search: whether searches must have as many trials.
        """
        fitting = [
            row
            for row in self.rows
            if self.cost(row) <= MOST_COST
            and row["twins"]["met"]
            and (scope == "search" or (row["halves"]["met"] and row["splits"] != "one"))
            and (not same_search or row["trials"] == self.trials)
        ]
        return max(fitting, key=lambda row: float(row["power"]["rate"]), default=None)


def targets(rows: Sequence[Row]) -> list[Target]:
    """One for each size, the number of trials first."""
    sizes = sorted({(row["trials"], row["replicates"]) for row in rows})
    usual = [size for size in sizes if size[0] >= FEWEST_TRIALS] or sizes
    considered = [row for row in rows if row["analysis"] != STUDENT]

    def target(trials: int, replicates: int) -> Target:
        five = [
            row
            for row in considered
            if row["searches"] == 5 and row["splits"] == "one" and row["twins"]["met"]
            if (row["trials"], row["replicates"]) == (trials, replicates)
        ]
        return Target(
            trials,
            replicates,
            [row for row in considered if row["trials"] <= trials],
            max(five, key=lambda row: float(row["power"]["rate"]), default=None),
        )

    return [target(*size) for size in usual]
