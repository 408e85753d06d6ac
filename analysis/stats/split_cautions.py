"""What the protocol flags where replicates draw splits of their own, as ``analysis.stats.cautions`` does."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.stats.cautions import FEW_REPLICATES, VERDICT_REPLICATES, Caution
from analysis.stats.scopes import listed

ENOUGH_TO_RESAMPLE = 12
"""Trials of a search whose resamples stand for new searches; with 6, twins were called different in up to .06 of
sweeps (``benchmarks/calibration``)."""


def few_splits(splits: int) -> Caution | None:
    """Below five splits little is known of how much a result changes from split to split; below three, no verdict."""
    if splits >= FEW_REPLICATES:
        return None
    lead = f"{splits} split{'' if splits == 1 else 's'}"
    if splits < VERDICT_REPLICATES:
        return Caution(
            "few_splits",
            f"{lead} into training and test images cannot carry a verdict, however many trainings each has, and "
            f"comparisons are called inconclusive; draw at least {VERDICT_REPLICATES}, better {FEW_REPLICATES}.",
        )
    return Caution(
        "few_splits",
        f"{lead} into training and test images show little of how much a result changes from split to split, so "
        f"intervals are wide, however many trainings each has; {FEW_REPLICATES} or more would be better.",
    )


def few_searches(searches: int) -> Caution | None:
    """As ``few_splits`` for searches that several replicates share."""
    if searches >= FEW_REPLICATES:
        return None
    lead = f"{searches} independent search{'' if searches == 1 else 'es'} of each method"
    if searches < VERDICT_REPLICATES:
        return Caution(
            "few_searches",
            f"{lead} cannot carry a verdict about new searches, however many trainings each has, and the comparison is "
            f"called inconclusive; run at least {VERDICT_REPLICATES}, better {FEW_REPLICATES}.",
        )
    return Caution(
        "few_searches",
        f"{lead} show little of how much a result changes from search to search, so the interval is wide, however many "
        f"trainings each has; {FEW_REPLICATES} or more would be better.",
    )


def small_search(trials: int, methods: Sequence[str] = ()) -> Caution:
    """A search that replicates resample and that has few trials.

    Args:
        trials: of the search; more than one and fewer than ``ENOUGH_TO_RESAMPLE``.
        methods: whose; empty for all of a dataset.
    """
    return Caution(
        "small_search",
        f"The replicates of {_named(methods)} resample a search of {trials} trials, which says little of what a new "
        "search would choose: in simulations, methods that are equal were called different in up to 6 of 100 sweeps, "
        f"where 5 are promised; {ENOUGH_TO_RESAMPLE} trials or more keep the promise.",
    )


def different_splits(seeds: Sequence[int]) -> Caution | None:
    """Seeds that two methods trained and tested on different splits."""
    if not seeds:
        return None
    return Caution(
        "different_splits",
        f"With seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))} the two methods were trained and "
        "tested on different splits: their scores are on other images, and are not paired.",
    )


def tuned_elsewhere(replicates: int, of: int, methods: Sequence[str] = ()) -> Caution:
    """Configurations that were tuned on another split than the one that they are tested on.

    Args:
        replicates: how many have such a configuration.
        of: of how many.
        methods: whose; empty for all of a dataset.
    """
    have = "has a configuration" if replicates == 1 else "have configurations"
    return Caution(
        "tuned_on_test_images",
        f"{replicates} of {of} replicate{'' if of == 1 else 's'} of {_named(methods)} {have} tuned on another "
        "split than their own: images that the tuning saw are among their test images, so scores may be somewhat too "
        "high.",
    )


def _named(methods: Sequence[str]) -> str:
    return listed(methods) or "each method"
