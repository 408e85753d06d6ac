"""Which slot of a finished search is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.search.engine import Asked
from harness.search.surrogate import expected_scores
from harness.space import Space
from harness.spec_search import SearchSpec


@dataclass(frozen=True, slots=True)
class Chosen:
    """The slot that a search takes."""

    slot: Asked
    expected: float | None = None
    """What a model of all scores expects of it, higher is better; None where the best score itself decided."""


def choose(history: Sequence[Asked], space: Space, search: SearchSpec) -> Chosen | None:
    """The slot that ``search.choose`` takes, the earliest of equals; None when no slot has a score.

    Slots that failed or were pruned cannot be chosen.
    """
    finished = sorted((entry for entry in history if entry.score is not None), key=lambda entry: entry.slot)
    if not finished:
        return None
    means = expected_scores(space, finished) if search.choose == "surrogate_mean" else None
    if means is not None:
        place = int(means.argmax())
        return Chosen(finished[place], float(means[place]))
    return Chosen(max(finished, key=_score))  # the first of equals


def _score(entry: Asked) -> float:
    assert entry.score is not None
    return entry.score
