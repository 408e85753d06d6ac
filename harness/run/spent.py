"""What the attempts on a trial cost, from its leases: device-seconds, how attempts ended, and work that was lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from harness.core.lease import AttemptRecord
from harness.run.trial_records import TrialOutcome, TrialResult

Outcome = Literal["finished", "interrupted", "died", "open"]
"""``interrupted``: told to stop, with a checkpoint; ``died``: killed, lost or crashed; ``open``: nobody has taken the
trial over, so it runs or has died unnoticed."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt on a trial."""

    outcome: Outcome
    seconds: float
    """Device-seconds from the claim to the last sign of life, which is at most ten seconds before a death."""
    lost_seconds: float
    """Of these, what a dead attempt worked after its last checkpoint: the next one did it again."""


class Spent(NamedTuple):
    """All attempts on a trial together."""

    attempts: int = 0
    seconds: float = 0.0
    interrupted: int = 0
    died: int = 0
    lost_seconds: float = 0.0

    @classmethod
    def total(cls, parts: Iterable[Spent]) -> Spent:
        """The sum over several trials."""
        return cls._make(map(sum, zip(cls(), *parts, strict=True)))


def judged(history: Sequence[AttemptRecord], finished: bool) -> list[Attempt]:
    """What each attempt on a trial cost and how it ended.

    Args:
        history: its leases, oldest first, as ``lease.history`` gives them. ``claimed`` and ``last_seen`` may be stamped
            by two clocks, so that a negative time counts as 0.
        finished: whether the trial has its result, which the last attempt then wrote.
    """
    result = []
    for place, lease in enumerate(history):
        last = place + 1 == len(history)
        seen, claimed = float(lease["last_seen"]), lease.get("claimed")
        began = seen if claimed is None else float(claimed)
        outcome = _outcome(lease.get("released"), last, finished)
        lost = 0.0
        if outcome == "died":
            # The next attempt noted when the checkpoint that it found was written, in nanoseconds; 0 for none. It may
            # be younger than the last renewal of the lease.
            checkpoint = 0.0 if last else int(history[place + 1].get("progress") or 0) / 1e9
            seen = max(seen, checkpoint)
            lost = seen - min(seen, max(began, checkpoint))
        result.append(Attempt(outcome, max(0.0, seen - began), lost))
    return result


def spent(history: Sequence[AttemptRecord], finished: bool) -> Spent:
    """The sum of ``judged``."""
    attempts = judged(history, finished)
    return Spent(
        len(attempts),
        sum(attempt.seconds for attempt in attempts),
        sum(attempt.outcome == "interrupted" for attempt in attempts),
        sum(attempt.outcome == "died" for attempt in attempts),
        sum(attempt.lost_seconds for attempt in attempts),
    )


def recorded(result: TrialResult | TrialOutcome) -> Spent | None:
    """What a result says of the attempts on its trial; None in results from before that was recorded."""
    given = result.get("spent")
    return None if given is None else Spent(**given)


def _outcome(released: str | None, last: bool, finished: bool) -> Outcome:
    if last and finished:
        return "finished"
    if released is None:
        return "open" if last else "died"
    return "died" if released == STOPPED_BY_ERROR else "interrupted"


STOPPED_BY_ERROR = "worker stopped by an error"
"""How the lease of an attempt is released whose worker could not go on: a full disk, a bug of the harness."""
