"""What a sampler is: the part of a search that gives the slots of one study their configurations.

Workers ask it: each claims the next slot whose prerequisites are finished and asks for its configuration. What it
answers depends on its arguments alone, never on the time, the process or an earlier call; what it keeps between calls
only makes it faster. An ``Engine`` is a sampler with a process of its own (a driver) that decides which slot comes
next: workers leave the slots to it and confirm what was chosen.
"""

from __future__ import annotations

import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, final

from harness.core.errors import RequestError, one_line, suggestion
from harness.core.pluggable import Pluggable
from harness.launcher import Launcher
from harness.plugins import Catalogue, Plugin, packaged
from harness.space.conditions import check_configuration
from harness.space.parameters import Space, Value, defaults, searched
from harness.spec.messages import Place
from harness.spec.search import SearchSpec
from harness.spec.sections import LaunchSpec

WORKERS = "optuna"
"""What ``search.engine`` says where workers ask the sampler themselves, after the package of the first samplers."""

PRUNERS = ("none", "median", "percentile", "asha", "hyperband", "patience")
"""The pruners of searches that workers ask for themselves."""


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

    def as_running(self) -> Asked:
        """The same slot as long as it is not finished: with its hyperparameters alone."""
        known = self.score is not None or self.pruned or self.curve
        return Asked(self.slot, self.hyperparameters) if known else self


class Sampler(Pluggable, ABC):
    """Gives the slots of one study their configurations.

    Args:
        space: the study's space; what is fixed in it is part of every configuration.
        search: how the study is searched.
        study: name of the study; names its random streams.
        prior: finished slots of an earlier search of the same space, from which a sampler that learns begins.

    Raises:
        RequestError: the sampler cannot search this space; the message begins with ``search.`` and the key.
    """

    kind = "sampler"
    learns: ClassVar[bool] = False
    """Whether it can begin from what an earlier search has found (``search.warm_start``)."""
    pruners: ClassVar[Sequence[str]] = PRUNERS
    """What ``search.pruner`` may say."""
    driven: ClassVar[bool] = False
    """Whether a driver hands the slots out (``Scheduler.claim_slot``) and workers claim none: that of an ``Engine``."""

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        self.space, self.search, self.study, self.prior = space, search, study, prior

    @classmethod
    def fault(cls) -> str | None:
        """That there is no docstring."""
        if cls.documented():
            return None
        return "has no docstring; write how it proposes, and its source: its first line is in lists"

    @classmethod
    def check(cls, search: SearchSpec) -> None:
        """Check what a search asks of this sampler, whatever the space.

        Raises:
            RequestError: it cannot do that; the message begins with the key, such as ``search.pruner: ``.
        """
        if search.pruner not in cls.pruners:
            known = ", ".join(cls.pruners)
            raise RequestError(f"search.pruner: the engine {search.engine} has no {search.pruner}; known: {known}")
        if search.warm_start is not None and not cls.learns:
            raise RequestError(
                f"search.warm_start: the sampler {search.sampler} learns nothing from earlier trials; take tpe or gp"
            )

    @property
    def slots(self) -> int:
        """Number of slots of the study: ``search.trials``, or fewer where the space has fewer configurations."""
        return self.search.trials if searched(self.space) else 1

    def conditioning(self, slot: int) -> range:
        """The slots, from 0 on, whose results the configuration of ``slot`` depends on; all of them before it.

        The slot begins when these are finished, so fewer of them let more slots run at the same time;
        ``self.before(slot)`` leaves ``search.concurrency`` of them. By default none: it learns nothing.
        """
        return range(0)

    @final
    def prerequisites(self, slot: int) -> range:
        """The slots, from 0 on, that must be finished before ``slot`` begins: for its ask or for its rungs.

        A later slot has no fewer.
        """
        rungs = range(0) if self.search.pruner == "none" else self.before(slot)
        return max(self.conditioning(slot), rungs, key=len)

    @final
    def before(self, slot: int) -> range:
        """All slots up to ``slot - concurrency``."""
        return range(max(0, slot - self.search.concurrency + 1))

    @abstractmethod
    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration of a slot, complete with what is fixed: a function of the arguments alone.

        Args:
            slot: its number, from 1 on; slot 0 runs the default configuration, and nobody asks for it.
            history: every slot before ``slot``, in order. Those of ``conditioning`` are finished; of the others, whose
                results must not count, only the hyperparameters are known.
        """

    @final
    def propose(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration of any slot, by ``ask``, which gets to see what it may know; checked.

        Args:
            slot: its number.
            history: the slots before ``slot``, in any order, and perhaps others.

        Raises:
            RequestError: the sampler fails, or its answer is not in the space.
        """
        if slot == 0:
            return defaults(self.space)
        may_know = self.conditioning(slot)
        earlier = sorted((entry for entry in history if entry.slot < slot), key=lambda entry: entry.slot)
        known = [entry if entry.slot in may_know else entry.as_running() for entry in earlier]
        with in_one_line(type(self), f"slot {slot}: "):
            asked = self.ask(slot, known)
            check_configuration(self.space, asked)
        return asked

    def check_order(self) -> None:
        """Check that no slot waits for itself or a later one.

        Raises:
            RequestError: one does.
        """
        for slot in range(self.slots):
            needed = self.conditioning(slot)
            if needed != range(len(needed)) or len(needed) > slot:
                raise RequestError(
                    f"search.sampler: {self.name}: conditioning({slot}) is {needed}; give range(n), n at most {slot}"
                )


class Engine(Sampler):
    """A sampler whose slots a driver hands out; ``search.engine`` names it, and it says which samplers it has."""

    kind = "engine"
    driven = True
    launch: ClassVar[str] = "take local"
    """What a sweep with another launcher is told; the driver starts processes of its own."""

    @classmethod
    @abstractmethod
    def launcher(cls, settings: LaunchSpec) -> Launcher:
        """What launches a sweep of this engine, in place of the launcher ``local``.

        Its workers hand the slots out (``Scheduler.to_be_driven`` and ``Scheduler.claim_slot``). Backbones and confirm
        trials they train as any others do.

        Args:
            settings: the sweep's section ``launch``.
        """


def find_sampler(
    search: SearchSpec, catalogue: Catalogue | None = None, place: Place = lambda *keys: ".".join(map(str, keys))
) -> Plugin[Sampler]:
    """The sampler that a search names, or the engine in its place.

    Args:
        search: how studies are searched.
        catalogue: where to look; None for the built-in ones.
        place: says where a value was written.

    Raises:
        RequestError: there is none of that name, or it is broken.
    """
    catalogue = packaged() if catalogue is None else catalogue
    if not is_driven(search):
        return catalogue.find(Sampler, search.sampler, place("search", "sampler"))
    return find_engine(search, catalogue, place)


def find_engine(search: SearchSpec, catalogue: Catalogue, place: Place) -> Plugin[Engine]:
    """The engine of a search that is driven; for arguments and errors see ``find_sampler``."""
    engines = catalogue.all(Engine)
    if search.engine not in engines:
        known = suggestion(search.engine, [WORKERS, *engines])
        raise RequestError(f"{place('search', 'engine')}: no engine is called {search.engine!r}{known}")
    return engines[search.engine]


def make_sampler(
    space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = (), catalogue: Catalogue | None = None
) -> Sampler:
    """The sampler of a study; for the arguments see ``Sampler`` and ``find_sampler``.

    Raises:
        RequestError: there is none of that name, or it cannot search this space.
    """
    return find_sampler(search, catalogue).cls(space, search, study, prior)


def is_driven(search: SearchSpec) -> bool:
    """Whether a driver hands the slots out; told from the sweep file alone, before plugins are loaded."""
    return search.engine != WORKERS


@contextmanager
def in_one_line(cls: type[Sampler], what: str = "") -> Iterator[None]:
    """Say in one line how a sampler's own code fails or refuses: at the key, and with the line of its file.

    Raises:
        RequestError: it fails; the message begins with ``search.`` and the key.
        OSError: the file system does.
    """
    try:
        yield
    except RequestError as refusal:
        if str(refusal).startswith("search."):
            raise
        raise RequestError(f"search.sampler: {cls.name}: {what}{refusal}") from refusal
    except OSError:
        raise
    except Exception as error:
        text = one_line(f"{type(error).__name__}: {error}")
        raise RequestError(f"search.sampler: {cls.name}: {what}{text}{_place(cls, error)}") from error


def _place(cls: type[Sampler], error: Exception) -> str:
    """The line of the sampler's file at which it failed; empty where it did not fail there."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}:{lines[-1]})" if lines else ""
