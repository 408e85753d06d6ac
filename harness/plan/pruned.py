"""What pruning is expected to save: the search's own rules, over scores whose early ranks are the final ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.plan.parts import Measured
from harness.plan.shapes import StudyShape
from harness.search.rungs import Judge, rung_epochs
from harness.search.sampler import Asked
from harness.spec.search import SearchSpec

_DRAWS = 3
_SLOTS = 60
"""Slots that are played through; where there are more, later ones are taken to end like the second half of these."""


@dataclass(frozen=True, slots=True)
class PruningForecast:
    """What the searches of a sweep are expected to take, without and with pruning."""

    steps: int
    """Training steps of all search trials where none is pruned."""
    steps_left: int
    seconds: float | None
    """Device-seconds of the same; None where those of a study are missing."""
    seconds_left: float | None


def expect_pruned(
    search: SearchSpec, shapes: Sequence[StudyShape], measured: Mapping[str, Measured]
) -> PruningForecast | None:
    """What pruning is expected to save, where the anchors agree and early ranks are the final ones.

    Returns:
        None where no rule prunes, or where it looks at the course of each curve alone (``patience``).
    """
    if search.pruner in ("none", "patience", "pbt"):
        return None
    known = all(shape.name in measured and measured[shape.name].parts for shape in shapes)
    further = len(search.seeds) - 1
    steps = left = seconds = seconds_left = 0.0
    played: dict[tuple[int, int], Mapping[int, float]] = {}
    for shape in shapes:
        epochs = shape.shape.epochs
        if (epochs, shape.slots) not in played:
            played[epochs, shape.slots] = expected_ends(search, epochs, shape.slots)
        for end, slots in played[epochs, shape.slots].items():
            # The first tuning seed decides for the slot; the others are trained where it goes on.
            others = further if end == epochs else 0
            steps += slots * shape.shape.steps * (1 + further)
            left += slots * shape.shape.steps * (end / epochs + others)
            every = measured[shape.name].parts if known else ()
            for parts in every:
                whole = parts.seconds(shape.shape, confirm=False)
                short = parts.seconds(shape.shape, confirm=False, epochs=end)
                seconds += slots * whole * (1 + further) / len(every)
                seconds_left += slots * (short + whole * others) / len(every)
    return PruningForecast(round(steps), round(left), seconds if known else None, seconds_left if known else None)


def expected_ends(search: SearchSpec, epochs: int, slots: int) -> Mapping[int, float]:
    """How many slots are expected to end after so many epochs on the first tuning seed: epochs → slots.

    A few searches are played through, in which slots have scores in a random order that is the same after each epoch.
    """
    rng = np.random.default_rng(0)
    played = min(slots, _SLOTS)
    ends: dict[int, float] = defaultdict(float)
    for _ in range(_DRAWS):
        scored: list[Asked] = []
        for slot, score in enumerate(rng.permutation(played).tolist()):
            judge = Judge(search, "expected", slot, scored[: max(0, slot - search.concurrency + 1)])
            decisions = (judge(epochs, epoch, [score] * epoch) for epoch in rung_epochs(search, epochs))
            end = next((one.epoch for one in decisions if one is not None and one.prune), epochs)
            scored.append(Asked(slot, {}, score if end == epochs else None, end < epochs, [score] * end))
            later = slots > played and slot >= played // 2
            ends[end] += 1 + (slots - played) / (played - played // 2) if later else 1
    return {end: number / _DRAWS for end, number in sorted(ends.items())}
