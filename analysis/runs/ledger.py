"""What each study used of the budget: work that failed, died or was repeated counts in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class StudyCosts:
    """What one study, or the backbones that were trained first (dataset and method None), used."""

    dataset: str | None
    method: str | None
    slots_declared: int
    known_before: int
    """Slots of an earlier run that the search began from; no other number counts them."""
    slots: int
    """Search slots that were begun."""
    trials: int
    attempts: int
    attempts_without_result: int
    """Attempts that died, and those that still run."""
    failed: int
    pruned: int
    steps: int
    """Optimiser steps of finished trials, without those that were done again."""
    interrupted: int
    """Attempts that were told to stop and wrote a checkpoint."""
    died: int
    lost_seconds: float
    """Of dead attempts, after their last checkpoints."""
    epochs: int
    """Epochs that are recorded: those that a dead attempt ran after its last checkpoint are not known."""
    seconds: dict[str, float]
    """Stage → device-seconds; ``again`` are the best slots on a further tuning seed, ``repeat`` confirm trials run
    again with the same seed, ``other`` those outside the comparison."""
    confirmed: int = 0
    """Confirm trials with a result, whatever they confirmed: each of them opened the test split."""


def ledger(
    trials: pl.DataFrame,
    attempts: pl.DataFrame,
    slots: Mapping[tuple[str, str], int],
    known_before: Mapping[tuple[str | None, str | None], int],
) -> list[StudyCosts]:
    """One entry a study in the order of ``slots``, then one for backbones trained first, if any.

    Args:
        trials: ``frames.trials``, confirm trials outside the comparison moved to the stage ``other``.
        attempts: ``frames.attempts``.
        slots: (dataset, method) of every study → search slots that it was given, those of all its searches together.
        known_before: likewise → slots of an earlier run that it began from; those that began from none may be missing.
    """
    staged = attempts.drop("stage").join(trials.select("trial", "stage"), on="trial", how="left")
    own, tried = (frame.partition_by("dataset", "method", as_dict=True) for frame in (trials, staged))
    declared: dict[tuple[str | None, str | None], int] = {key: slots[key] for key in slots}
    if (None, None) in own:
        declared[None, None] = 0
    return [
        _spent(own.get(key, trials.clear()), tried.get(key, staged.clear()), *key, number, known_before.get(key, 0))
        for key, number in declared.items()
    ]


def _spent(
    own: pl.DataFrame, tried: pl.DataFrame, dataset: str | None, method: str | None, declared: int, known_before: int
) -> StudyCosts:
    seconds = tried.group_by("stage").agg(pl.col("seconds").sum())
    return StudyCosts(
        dataset=dataset,
        method=method,
        slots_declared=declared,
        known_before=known_before,
        slots=own.filter((pl.col("stage") == "search") & pl.col("slot").is_not_null())
        .select("search_number", "slot")
        .n_unique(),
        trials=own.height,
        attempts=tried.height,
        attempts_without_result=tried.filter(~pl.col("has_result")).height,
        failed=own.filter(pl.col("status") == "failed").height,
        pruned=own.filter(pl.col("status") == "pruned").height,
        steps=int(own["steps"].sum()),
        interrupted=tried.filter(pl.col("outcome") == "interrupted").height,
        died=tried.filter(pl.col("outcome") == "died").height,
        lost_seconds=float(tried["lost_seconds"].sum()),
        epochs=int(own["epochs"].sum()),
        seconds=dict(sorted(seconds.iter_rows())),
        confirmed=own.filter(pl.col("stage").is_in(["confirm", "other"]) & (pl.col("status") != "unfinished")).height,
    )
