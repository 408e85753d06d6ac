"""What every sampler keeps, shown on small spaces with made-up scores."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.core.errors import RequestError
from harness.search import Asked, Sampler
from harness.search.sampler import in_one_line
from harness.space.parameters import Choice, Fixed, Float, Int, Space, Value, defaults
from harness.spec.search import SearchSpec

LR, DEPTH = Float(1e-3, 1e-5, 1e-1, log=True), Int(3, 1, 6)
SPACES: dict[str, Space] = {
    "numbers and a choice": {"lr": LR, "depth": DEPTH, "rank": Choice(8, (1, 2, 4, 8)), "optimizer": Fixed("adamw")},
    "numbers": {"lr": LR, "depth": DEPTH, "decay": Float(0.1, 0.0, 1.0)},
    "discrete": {"rank": Choice(8, (1, 2, 4, 8)), "depth": Int(3, 1, 4), "optimizer": Fixed("adamw")},
    "when": {
        "lr": LR,
        "optimizer": Choice("adamw", ("adamw", "sgd")),
        "momentum": Float(0.9, 0.5, 0.99, when={"optimizer": "sgd"}),
    },
    "at_most": {"lr": replace(LR, at_most="head_lr"), "head_lr": Float(1e-2, 1e-4, 1.0, log=True)},
}
"""Spaces that are tried; a sampler may refuse some of them."""
SLOTS = 8
SEARCH = SearchSpec(trials=SLOTS, startup=3, concurrency=2)
STUDY = "method@dataset"
FAILED = 3
"""The slot whose trial has no score."""


def violations(sampler: type[Sampler]) -> Iterator[str]:
    """One sentence for each promise that a sampler breaks: ``Sampler.ask`` and ``conditioning`` state them.

    Slot 0 runs the default configuration, every configuration is in the space, and each ask follows from the study,
    the slot and the results of ``conditioning`` alone: not from other results, their order, earlier calls, or a
    random generator of the process.
    """
    accepted = 0
    for name, space in SPACES.items():
        try:
            with in_one_line(sampler):
                sampler(space, SEARCH, STUDY)
        except RequestError as refusal:
            if refusal.__cause__ is not None and not isinstance(refusal.__cause__, RequestError):
                yield f"{name}: {str(refusal).removeprefix('search.sampler: ')}"
            continue
        accepted += 1
        earlier = [Asked(0, defaults(space), 0.3), Asked(1, defaults(space), 0.6)]
        for prior in [(), earlier] if sampler.learns else [()]:
            place = f"{name}, after an earlier search" if prior else name
            yield from (f"{place}: {sentence}" for sentence in _broken(sampler, space, prior))
    if not accepted:
        yield f"it refuses every space that was tried: {', '.join(SPACES)}"


def _broken(sampler: type[Sampler], space: Space, prior: Sequence[Asked]) -> Iterator[str]:
    def fresh() -> Sampler:
        return sampler(space, SEARCH, STUDY, prior)

    history: list[Asked] = []
    first = fresh()
    if not 1 <= first.slots <= SLOTS:
        yield f"slots is {first.slots}, where search.trials is {SLOTS}"
        return
    try:
        first.check_order()
        for slot in range(first.slots):
            asked = _ask(first, slot, history, generator=slot)
            history.append(Asked(slot, asked, None if slot == FAILED else float((7 * slot) % 5)))
    except RequestError as error:
        yield str(error).removeprefix("search.sampler: ")
        return
    if history[0].hyperparameters != defaults(space):
        yield "slot 0 is not the default configuration"
    known = [entry.hyperparameters for entry in history]
    backwards = fresh()
    for slot in reversed(range(first.slots)):
        told = _unknowable(first, slot, history)
        if _ask(backwards, slot, history[:slot], generator=slot) != known[slot]:
            yield f"slot {slot}: asked after later slots it differs: what was asked before counts"
        # All at once first, because an ask may take long.
        elif _ask(fresh(), slot, told, generator=slot + 100) == known[slot]:
            continue
        elif _ask(fresh(), slot, history[:slot], generator=slot) != known[slot]:
            yield f"slot {slot}: asked of a new sampler it differs: what was asked before counts"
        elif _ask(fresh(), slot, told, generator=slot) != known[slot]:
            yield f"slot {slot}: results outside conditioning({slot}) count, or the order of the history does"
        else:
            yield f"slot {slot}: a random generator of the process counts; seed one by derive_seed(..., study, slot)"


def _ask(sampler: Sampler, slot: int, history: Sequence[Asked], generator: int) -> dict[str, Value]:
    """Ask with the process's random generators in a certain state."""
    random.seed(generator)
    np.random.seed(generator)
    return sampler.propose(slot, history)


def _unknowable(sampler: Sampler, slot: int, history: Sequence[Asked]) -> list[Asked]:
    """The same history for what a slot may know: backwards, with other results of the rest."""
    may_know = sampler.conditioning(slot)
    return [
        entry if entry.slot in may_know else Asked(entry.slot, entry.hyperparameters, 99.0 - entry.slot)
        for entry in reversed(history)
    ]
