"""A trial that a worker may take, and one that it has taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.core.lease import Lease
from harness.run.directory import TrialFolder
from harness.run.records import TrialRequest
from harness.space.parameters import Value
from harness.train.job import Judge, TrialJob


@dataclass(frozen=True)
class Task:
    """A claimed trial."""

    folder: TrialFolder
    lease: Lease
    request: TrialRequest
    job: TrialJob
    title: str
    judge: Judge | None = None
    """Decides at the rungs of a search trial; None trains to the end."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the driver of an engine wants a slot to run."""

    hyperparameters: Mapping[str, Value]
    conditioned_on: Sequence[int] = ()
    """Slots whose results the engine knew when it proposed this."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial of a study that could be claimed now."""

    stage: Literal["search", "confirm"]
    slot: int | None
    seed: int
    folder: TrialFolder
    repeats: TrialFolder | None = None
    """The finished trial whose training it runs once more, if it does."""
    proposal: Proposal | None = None
    """What a driver wants it to run, if one hands it out."""
    reevaluates: bool = False
    """Whether it trains one of the best slots of a complete search on a further tuning seed."""

    @property
    def begins(self) -> Literal["search", "confirm"]:
        """What of its study begins with it, for the budget: what follows a complete search is part of confirming it."""
        return "confirm" if self.reevaluates else self.stage
