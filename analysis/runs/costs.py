"""What the networks of a study cost, beside the time that the study took."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from harness.run.frames import COSTS

if TYPE_CHECKING:
    from analysis.runs.summary import Summary

REFERENCE = "full_finetune"
"""Plugin whose time a step the others are compared with: what a user would do without any of the methods."""


@dataclass(frozen=True, slots=True)
class StudyCost:
    """The figures of the networks that one study confirmed, and its time a step."""

    figures: dict[str, tuple[float, ...]]
    """Name of ``COSTS`` → the distinct values seen, ascending; empty where none is recorded."""
    peak_bytes: float | None
    """Median peak of the accelerator's memory over the confirm trials; None on a CPU, where only the whole process
    is known, whatever it ran before."""
    step_seconds: float | None
    """Median over trials of both stages of training time by steps, validation included."""
    place: tuple[str, int] | None
    """Device and threads of these trials; None where they are not all the same, so that times do not compare."""


def study_cost(confirmed: pl.DataFrame, timed: pl.DataFrame) -> StudyCost:
    """The cost of a study.

    Args:
        confirmed: ``frames.trials`` of its confirmation that are done.
        timed: its trials of both stages that are done.
    """
    # A method that trains in one go makes no steps.
    stepped = timed.filter((pl.col("steps") > 0) & pl.col("train_seconds").is_not_null())
    seconds = (stepped["train_seconds"] / stepped["steps"]).to_list()
    places = stepped.select("device", "threads").unique().rows()
    peaks = confirmed.filter(pl.col("device") != "cpu")["peak_bytes"].drop_nulls().to_list()
    return StudyCost(
        figures={name: tuple(sorted(confirmed[name].drop_nulls().unique())) for name in COSTS},
        peak_bytes=statistics.median(peaks) if peaks else None,
        step_seconds=statistics.median(seconds) if seconds else None,
        place=places[0] if len(places) == 1 and None not in places[0] else None,
    )


def relative_step(own: StudyCost, reference: StudyCost | None) -> float | None:
    """Time a step as a multiple of the reference's; None where they ran on other devices or threads."""
    if reference is None or own.place is None or own.place != reference.place:
        return None
    if own.step_seconds is None or not reference.step_seconds:
        return None
    return own.step_seconds / reference.step_seconds


def reference_of(candidates: Sequence[tuple[str, str, StudyCost]]) -> StudyCost | None:
    """The study that the others of a dataset are compared with.

    Args:
        candidates: label, plugin and cost of each study of the dataset on the network that the sweep names.

    Returns:
        The one that bears the plugin's name, else the only one of that plugin; None where there is none or
        several might be meant.
    """
    found = [(label, cost) for label, plugin, cost in candidates if plugin == REFERENCE]
    named = [cost for label, cost in found if label == REFERENCE]
    if named:
        return named[0]
    return found[0][1] if len(found) == 1 else None


def costs_of(summaries: Sequence[Summary]) -> dict[str, dict[tuple[str, str], float]]:
    """What each method cost on each dataset, for a figure: kind of cost → (dataset, method) → amount above 0.

    Of runs that are reported together, hours add up, and the others are those of the first run that has them.
    """
    hours: dict[tuple[str, str], float] = {}
    sums: dict[tuple[str, str], float] = {}
    peaks: dict[tuple[str, str], float] = {}
    for summary in summaries:
        for spent in summary.ledger:
            if spent.dataset is not None and spent.method is not None:
                place = spent.dataset, spent.method
                hours[place] = hours.get(place, 0.0) + sum(spent.seconds.values()) / 3600
        for study in summary.studies:
            place, counted = (study.dataset, study.method), study.cost.figures["multiply_adds"]
            if counted:
                sums.setdefault(place, float(counted[0]))
            if study.cost.peak_bytes is not None:
                peaks.setdefault(place, study.cost.peak_bytes / 1e9)
    kinds = {"Device-hours, search included": hours, "Multiply-adds an image": sums, "Peak GPU memory, GB": peaks}
    return {what: {place: own for place, own in found.items() if own > 0} for what, found in kinds.items()}
