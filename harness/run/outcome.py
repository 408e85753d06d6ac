"""What the rules of a search go by: how a trial ended, and what its slot then has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple, Protocol

from harness.run.record_values import Status, score_of
from harness.run.trial_records import TrialOutcome, TrialResult


class Ended(Protocol):
    """A trial that is finished."""

    @property
    def status(self) -> Status:
        """How it ended."""

    @property
    def score(self) -> float | None:
        """Its validation score as the metric is read (not signed); None unless it is done and has one."""


class Outcome(NamedTuple):
    """The least that is ``Ended``."""

    status: Status
    score: float | None = None


def outcome_of(result: TrialResult | TrialOutcome, metric: str) -> Outcome:
    """How a trial ended, by the metric that its search goes by."""
    return Outcome(result["status"], score_in(result, metric))


def score_in(result: TrialResult | TrialOutcome, metric: str) -> float | None:
    """The validation score of a trial that is done; None of any other, and where it is not defined."""
    metrics = result.get("metrics") if result["status"] == "done" else None
    score = None if metrics is None else score_of(metrics.get("val", {}), metric)
    return None if score is None else float(score)


def seeds_of_slot(seeds: Sequence[int], first: Ended | None) -> Sequence[int]:
    """The tuning seeds on which a slot is trained: the first alone where the search pruned that one.

    Args:
        seeds: all of the study.
        first: how the first seed ended; None while it has not.
    """
    return seeds[:1] if first is not None and first.status == "pruned" else seeds


def mean_score(outcomes: Iterable[Ended | None]) -> float | None:
    """The score of a slot: the mean over its seeds; None where one is not finished, failed, or has no score."""
    scores = []
    for outcome in outcomes:
        if outcome is None or outcome.score is None:
            return None
        scores.append(outcome.score)
    return fmean(scores) if scores else None
