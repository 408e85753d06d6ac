"""Which slot of a finished search is taken."""

from __future__ import annotations

from collections.abc import Sequence

from harness.search.engine import Asked


def choose(history: Sequence[Asked]) -> Asked | None:
    """The slot with the best validation score, the earliest of equals; None when every slot failed."""
    finished = [entry for entry in history if entry.score is not None]
    return max(finished, key=lambda entry: (_score(entry), -entry.slot), default=None)


def _score(entry: Asked) -> float:
    assert entry.score is not None
    return entry.score
