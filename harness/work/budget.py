"""Keeping a run below its budget: what is spent, what running trials will still take, and what may be begun.

What was once seen finished is not read again, and where looking at what is not finished takes long, it is done less
often: it never takes more than a twentieth of the time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from harness.run.directory import RunDirectory
from harness.run.spent import recorded
from harness.run.trial import TrialFolder
from harness.work.state import StudyState

if TYPE_CHECKING:
    from harness.spec.sections import SweepSpec

LOOKING_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Account:
    """Device-seconds of a run at one moment."""

    spent: float
    """By all attempts so far, those that run included."""
    to_come: float
    """What running trials will still take, if they take as long as others of their study."""
    running: int
    """Trials that a living worker holds."""
    expected: dict[str, float]
    """Study → mean of its finished trials, else of all; 0 before anything is finished."""
    reserve: dict[str, float]
    """Dataset → what its confirm trials will still take that nobody has begun; only where something has begun."""


@dataclass
class Budget:
    """The cap of a run; each worker has its own and sees the same files."""

    run: RunDirectory
    cap: float
    """Device-seconds."""
    _finished: dict[Path, float] = field(default_factory=dict)
    _outside: float | None = None
    _account: Account | None = None
    _due: float = 0.0

    @classmethod
    def of(cls, run: RunDirectory, spec: SweepSpec) -> Budget | None:
        """The budget of a sweep; None where it has no limit."""
        cap = spec.budget.seconds
        return None if cap is None else cls(run, cap)

    def account(self, states: Sequence[StudyState]) -> Account:
        """How the run stands, looked at anew unless that is too soon."""
        if self._account is None or time.monotonic() >= self._due:
            began = time.monotonic()
            self._account = self._look(states)
            now = time.monotonic()
            self._due = now + (now - began) / LOOKING_SHARE
        return self._account

    def affords(self, states: Sequence[StudyState], stage: Literal["source", "search", "confirm"], study: str) -> bool:
        """Whether a trial of a study may be begun.

        A search trial must leave enough to confirm all that was begun, its own dataset included: a search that cannot
        be confirmed says nothing. A confirm trial waits until all methods of its dataset are searched, because one
        that has nothing to be compared with says nothing either.

        Args:
            states: of all studies that can run.
            stage: of the trial.
            study: its name; empty for a source.
        """
        account = self.account(states)
        used = account.spent + account.to_come
        need = 0.0 if stage == "source" else account.expected[study]
        dataset = next((state.study.dataset.label for state in states if state.study.name == study), "")
        if stage == "search":
            own = 0.0 if dataset in account.reserve else _confirmation(states, dataset, account.expected)
            need += own + sum(account.reserve.values())
        elif any(
            s.study.dataset.label == dataset and not s.progress.searched() and s.begun() < s.study.slots for s in states
        ):
            return False
        return used < self.cap and used + need <= self.cap

    def note(self, states: Sequence[StudyState]) -> None:
        """Record in the run directory that the budget is used up."""
        account = self.account(states)
        self.run.write_exhausted({"cap": self.cap, "used": account.spent})

    def _look(self, states: Sequence[StudyState]) -> Account:
        if self._outside is None:
            self._outside = self._spent_outside({state.study.name for state in states})
        spent, running = self._outside, []
        times: dict[str, list[float]] = {state.study.name: [] for state in states}
        sources = {state.study.source.folder.path: state.study.source.folder for state in states if state.study.source}
        for folder in sources.values():
            spent += self._of_unfinished(folder)[0] if not self._is_finished(folder) else self._finished[folder.path]
        for state in states:
            name = state.study.name
            for place, folder in state.study.folder.listed().items():
                result = state.results.find(place)
                if result is not None:
                    known = recorded(result)
                    seconds = self._finished.setdefault(folder.path, known.seconds if known else folder.spent().seconds)
                    # Confirm trials are neither pruned nor expected to fail.
                    times[name] += [seconds] if result["status"] == "done" else []
                    spent += seconds
                else:
                    seconds, alive = self._of_unfinished(folder)
                    spent += seconds
                    running += [(name, seconds)] if alive else []
        everything = [seconds for own in times.values() for seconds in own]
        usual = fmean(everything) if everything else 0.0
        expected = {name: fmean(own) if own else usual for name, own in times.items()}
        to_come = sum(max(0.0, expected[name] - seconds) for name, seconds in running)
        begun = {state.study.dataset.label for state in states if state.begun()}
        reserve = {dataset: _confirmation(states, dataset, expected) for dataset in begun}
        return Account(spent, to_come, len(running), expected, reserve)

    def _is_finished(self, folder: TrialFolder) -> bool:
        if folder.path not in self._finished and folder.finished:
            self._finished[folder.path] = folder.spent().seconds
        return folder.path in self._finished

    def _of_unfinished(self, folder: TrialFolder) -> tuple[float, bool]:
        """Device-seconds so far, and whether a living worker holds the trial."""
        if not folder.claimed:
            return 0.0, False
        lease = folder.lease()
        return folder.spent().seconds, lease is not None and not lease.dead

    def _spent_outside(self, names: set[str]) -> float:
        """By studies that the sweep file no longer names, and those that were set aside; these change no more."""
        left = (study for study in self.run.studies() if study.name not in names)
        trials = [trial for study in left for trial in study.every_trial()]
        return sum(trial.spent().seconds for trial in (*trials, *self.run.trials_set_aside()) if trial.claimed)


def _confirmation(states: Sequence[StudyState], dataset: str, expected: dict[str, float]) -> float:
    """Device-seconds of the confirm trials of a dataset that nobody has begun."""
    return sum(
        expected[state.study.name] * state.unconfirmed() for state in states if state.study.dataset.label == dataset
    )
