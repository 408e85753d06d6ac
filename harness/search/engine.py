"""What an engine is: the part of a search that gives the slots of one study their configurations.

An engine that is not ``driven`` answers to workers: each claims the next slot whose prerequisites are finished and asks
for its configuration. What it answers depends on its arguments alone, never on the time, the process or an earlier
call; what it keeps between calls only makes it faster. A ``driven`` engine has a process of its own (a driver) that
decides which slot comes next: workers leave the slots to it and confirm what was chosen.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.space.parameters import Space, Value, searched
from harness.spec.search import SearchSpec


@dataclass(frozen=True, slots=True)
class Asked:
    """A slot that was asked, and what is known of it."""

    slot: int
    hyperparameters: Mapping[str, Value]
    score: float | None = None
    """Validation score, higher is better; None when the slot failed, was pruned or is not finished."""
    pruned: bool = False
    """Whether its trial was ended at a rung."""
    curve: Sequence[float] = ()
    """Validation score after each epoch on the first tuning seed, higher is better; where trials are pruned."""


class Engine(ABC):
    """Gives the slots of one study their configurations.

    Args:
        space: the study's space; what is fixed in it is part of every configuration.
        search: how the study is searched.
        study: name of the study; names its random streams.
        prior: finished slots of an earlier search of the same space, from which a sampler that learns begins.

    Raises:
        RequestError: the sampler cannot search this space; the message begins with ``search.`` and the key.
    """

    driven: ClassVar[bool] = False
    """Whether a driver of its own hands the slots out (``Scheduler.claim_slot``); workers then claim none."""

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        self.space, self.search, self.study, self.prior = space, search, study, prior

    @property
    def slots(self) -> int:
        """Number of slots of the study: ``search.trials``, or fewer where the space has fewer configurations."""
        return self.search.trials if searched(self.space) else 1

    def conditioning(self, slot: int) -> range:
        """The slots, from 0 on, whose results the configuration of ``slot`` depends on; the others' do not matter."""
        return range(0)

    def prerequisites(self, slot: int) -> range:
        """The slots, from 0 on, that must be finished before ``slot`` begins: for its ask or for its rungs.

        A later slot has no fewer.
        """
        rungs = range(0) if self.search.pruner == "none" else self.before(slot)
        return max(self.conditioning(slot), rungs, key=len)

    def before(self, slot: int) -> range:
        """All slots up to ``slot - concurrency``."""
        return range(max(0, slot - self.search.concurrency + 1))

    @abstractmethod
    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration of a slot, complete with what is fixed.

        Args:
            slot: its number; slot 0 is the default configuration.
            history: the slots before ``slot``, in any order; only those of ``conditioning`` count as finished.
        """


_ENGINES = {
    "optuna": "harness.search.optuna_engine:OptunaEngine",
    "grid": "harness.search.grid:GridEngine",
    "cmaes": "harness.search.evolution:EvolutionEngine",
    "ray": "harness.search.ray_engine:RayEngine",
}
"""Where each engine is; imported when it is used."""


def engine_class(search: SearchSpec) -> type[Engine]:
    """The engine that a search names; some samplers are engines of their own."""
    module, _, name = _ENGINES[search.sampler if search.sampler in _ENGINES else search.engine].partition(":")
    found: type[Engine] = getattr(importlib.import_module(module), name)
    return found


def make_engine(space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> Engine:
    """The engine of a study; for the arguments see ``Engine``.

    Raises:
        RequestError: the sampler cannot search this space.
    """
    return engine_class(search)(space, search, study, prior)
