"""Replicates on splits of their own whose searches serve several of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from analysis.stats.estimate import mean_over_seeds
from analysis.stats.resampled import mean_over_searches, mean_over_splits
from benchmarks.calibration.model import Row, Setting, streams
from benchmarks.calibration.splits import OVERLAP, Counts

SEARCHES = ((3, 0.0), (3, 1.0), (3, 4.0), (5, 1.0), (5, 4.0))
"""Searches of each method, and the variance between them as a multiple of that between trainings on one split."""


def over_searches(searches: int, share: float, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage and false claims of one comparison of equals over ``seeds`` splits, whose searches take turns.

    Splits vary as much as trainings on one, and have the correlation that Nadeau and Bengio assume. ``used`` is what
    the report does, ``of_splits`` takes the search of each split as its own, ``plain`` all trainings as independent.
    """
    counts = Counts()
    common, own = OVERLAP / (1 + OVERLAP), 1 / (1 + OVERLAP)
    search = [split % searches for split in range(seeds)]
    for rng in streams(base_seed, f"{searches} searches, {share}", seeds, repetitions):
        values = math.sqrt(common) * rng.standard_normal() + math.sqrt(own) * rng.standard_normal(seeds)
        values = values + math.sqrt(share) * rng.standard_normal(searches)[search] + rng.standard_normal(seeds)
        used = mean_over_searches(values, range(seeds), search, OVERLAP)
        of_splits = mean_over_splits(values, range(seeds), OVERLAP)
        counts.add({"used": used, "of_splits": of_splits, "plain": mean_over_seeds(values)})
    return {
        "part": "searches",
        "name": f"{searches} searches in turn, {share:g} times the variance between them",
        "searches": searches,
        "share": share,
        "seeds": seeds,
        "repetitions": repetitions,
        **counts.row(),
    }


def line(row: Row) -> str:
    """A row in words."""
    rates = row["false_claims"]
    return (
        f"{row['searches']} searches on {row['seeds']} splits, {row['share']:g} times the variance between searches: "
        f"coverage {row['coverage']:.3f}, false claims {rates['used']:.3f} (as splits alone {rates['of_splits']:.3f}, "
        f"as independent {rates['plain']:.3f})"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One for each number of searches and share of the variance."""
    for searches, share in SEARCHES:
        name = f"splits, {searches} searches in turn, {share:g} times the variance between them"
        count = partial(over_searches, searches, share, repetitions, base_seed)
        # With fewer splits than twice the searches some would serve one split alone.
        yield Setting(name, count, repetitions, fewest=2 * searches)
