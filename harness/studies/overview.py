"""How a run stands: studies, running trials, failures, and the time that is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from harness.run.spent import Spent
from harness.run.trial import TrialFolder


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial that a living worker holds."""

    study: str
    """Name of the study, or of the backbone that is trained first."""
    stage: str
    trial: str
    """Name of the trial's folder."""
    epoch: int
    """Epochs that have ended."""
    epochs: int | None
    """Epochs that it has at most; None where the files do not tell."""
    host: str
    pid: int | None
    job: str | None
    """The worker's Slurm job; None outside of one."""
    attempt: int
    lease_age: float
    """Seconds since its worker was last heard of."""
    claimed: float | None = None
    """When its worker took it, seconds since the epoch."""
    device: str | None = None
    """What it runs on, as its worker calls it."""

    @property
    def title(self) -> str:
        """Study, stage and folder."""
        return f"{self.study} {self.stage} {self.trial}"


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that failed for good."""

    trial: str
    """Study, stage and folder."""
    cause: str
    message: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a study has used of the budget: work that failed, was pruned, died or was repeated counts in full."""

    slots: int = 0
    """Search slots that it was given."""
    slots_begun: int = 0
    trials: int = 0
    """Trials that were begun."""
    pruned: int = 0
    steps: int = 0
    """Optimiser steps of finished trials, without those that a dead attempt did and the next one repeated."""
    spent: Spent = field(default_factory=Spent)
    known_before: int = 0
    """Slots of an earlier run that the search began from; none of the other numbers counts them."""


@dataclass(frozen=True, slots=True)
class StudyOverview:
    """Trials of a study by state; a backbone that is trained first is one of a single trial."""

    name: str
    total: int
    done: int
    """Trials with a result that did not fail, those that the search ended early among them."""
    interrupted: int
    """Trials that were begun, are not finished, and that nobody runs now."""
    metric: str
    best: float | None
    """Best validation score so far, as the metric is read (not signed)."""
    complete: bool
    running: tuple[RunningTrial, ...]
    failures: tuple[Failure, ...]
    seconds: tuple[float, ...]
    """How long each trial took that is done."""
    damaged: tuple[str, ...]
    """Files that cannot be read."""
    pruned: int = 0
    """Those of ``done`` that the search ended at a rung."""
    spans: tuple[tuple[float, float], ...] = ()
    """When the last attempt of each finished trial began and ended, seconds since the epoch."""
    source: str | None = None
    """Identity of the backbone that it waits for, where that is trained first."""
    leader: str | None = None
    """Name of the study whose choice it waits for, in the place of a search."""
    ledger: Ledger = field(default_factory=Ledger)
    replicates: int = 0
    """Confirm trials that it has in the end, repetitions not counted."""
    confirmed: tuple[TrialFolder, ...] = ()
    """Those of them that are done."""

    @property
    def hopeless(self) -> bool:
        """Whether its search is over and nothing can be chosen."""
        return self.complete and self.best is None and self.ledger.slots > 0

    @property
    def failed(self) -> int:
        """Trials that failed for good."""
        return len(self.failures)

    @property
    def left(self) -> int:
        """Trials that nobody has finished yet."""
        return self.total - self.done - self.failed


@dataclass(frozen=True, slots=True)
class RunOverview:
    """How a run stands."""

    name: str
    studies: tuple[StudyOverview, ...]
    """In the order of the sweep file."""
    sources: tuple[StudyOverview, ...]
    """Backbones that are trained first."""
    blocked: tuple[str, ...]
    """Studies that cannot start, because their backbone could not be trained or nothing was chosen for them."""
    leftovers: tuple[str, ...]
    """Studies that are not in the sweep file any more; they are not counted."""
    complete: bool
    """Whether nothing is left to do."""
    cap: float | None = None
    """Device-seconds that the run may use; None where there is no limit."""
    spent_outside: float = 0.0
    """Device-seconds of studies that are not in the sweep file any more, and of those that were set aside."""
    exhausted: bool = False
    """Whether the run has ended because its budget is used up."""
    halted: str | None = None
    """Why it makes no sense to go on, which leaves nothing to do; else None."""

    @property
    def spent(self) -> float:
        """Device-seconds of all attempts so far."""
        return self.spent_outside + sum(part.ledger.spent.seconds for part in self.parts)

    @property
    def parts(self) -> tuple[StudyOverview, ...]:
        """Backbones and studies."""
        return (*self.sources, *self.studies)

    @property
    def running(self) -> list[RunningTrial]:
        """Every trial that a living worker holds."""
        return [trial for part in self.parts for trial in part.running]

    @property
    def seconds_left(self) -> float | None:
        """As ``seconds_left`` of all that can still run."""
        return seconds_left([part for part in self.parts if part.name not in self.blocked])

    def failures(self) -> list[tuple[int, Failure]]:
        """How often each cause occurred, most frequent first, with one example."""
        found = [failure for part in self.parts for failure in part.failures]
        examples = {failure.cause: failure for failure in reversed(found)}
        return [(count, examples[cause]) for cause, count in Counter(f.cause for f in found).most_common()]


def seconds_left(parts: Sequence[StudyOverview]) -> float | None:
    """Seconds until all trials are finished, if as many go on running as run now; None where nothing tells.

    A trial that is left takes the mean of those of its study that are done, else the mean of all.
    """
    everything = [seconds for part in parts for seconds in part.seconds]
    running = sum(len(part.running) for part in parts)
    if all(part.left == 0 for part in parts):
        return 0.0
    if not everything or running == 0:
        return None
    work = 0.0
    for part in parts:
        begun = sum(min(1.0, trial.epoch / trial.epochs) for trial in part.running if trial.epochs)
        work += fmean(part.seconds or everything) * (part.left - begun)
    return work / running
