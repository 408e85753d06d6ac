"""Which jobs of a sweep train a trial, and how each attempt on a trial ended: read from the files of the run.

A disturbance that struck a job while it loaded modules, evaluated or had nothing to do has shown nothing.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.core.errors import RequestError
from harness.core.files import read_json
from harness.core.lease import latest_number, lease_files
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder


@dataclass(frozen=True, slots=True)
class JobAttempt:
    """A job's attempt on a trial."""

    trial: TrialFolder
    number: int
    """Of its lease."""
    pid: int
    """Of its worker; the nodes of a little cluster share the machine's process ids."""
    job: str
    """As Slurm calls it: ``12``, or ``12_3`` for a task of an array."""
    restart: int
    """How often the job had been started before."""

    @property
    def lease_path(self) -> Path:
        """The file of its lease."""
        return lease_files(self.trial.path)[self.number]


@dataclass(slots=True)
class _Curve:
    """What was seen of an attempt's curve."""

    lines: int
    grew: bool = False


class TrainingWatch:
    """Sees attempts train: from when a curve was seen to grow, which only a training does, until it is whole.

    Args:
        run: the run directory; its trials come into being while this looks.
        epochs: of a trial.
    """

    def __init__(self, run: RunDirectory, epochs: int) -> None:
        self._run, self._epochs = run, epochs
        self._curves: dict[JobAttempt, _Curve] = {}
        self._over: set[Path] = set()

    def look(self) -> dict[str, JobAttempt]:
        """The attempts in training now, by job; to be asked several times a second, or short trainings are missed."""
        found = {}
        for trial in self._run.trials():
            if trial.path in self._over:
                continue
            attempt = self._attempt(trial)
            if attempt is None:
                continue
            lines = _lines(trial)
            curve = self._curves.setdefault(attempt, _Curve(lines))
            curve.grew = curve.grew or lines > curve.lines
            curve.lines = lines
            if curve.grew and lines < self._epochs:
                found[attempt.job] = attempt
        return found

    def trained(self, job: str, restart: int) -> list[JobAttempt]:
        """The attempts of one start of a job that were seen in training."""
        return [one for one, curve in self._curves.items() if curve.grew and (one.job, one.restart) == (job, restart)]

    def was_training(self, attempt: JobAttempt, at: float) -> bool:
        """Whether an attempt that was in training a moment before a time (seconds since the epoch) still was then."""
        with contextlib.suppress(OSError):
            if attempt.trial.finished or _lines(attempt.trial) >= self._epochs:
                return attempt.trial.curve_path.stat().st_mtime >= at
        return True

    def _attempt(self, trial: TrialFolder) -> JobAttempt | None:
        # Files come and go under these looks; what cannot be read now is seen a moment later.
        with contextlib.suppress(OSError, RequestError, ValueError, KeyError):
            if trial.finished:
                self._over.add(trial.path)
                return None
            number = latest_number(trial.path)
            content = read_json(lease_files(trial.path)[number]) if number else {}
            if number and not content.get("released"):
                job, restart = str(content["slurm_job"]), int(content.get("slurm_restart", 0))
                return JobAttempt(trial, number, int(content["pid"]), job, restart)
        return None


def how_it_ended(attempt: JobAttempt) -> str | None:
    """``finished``, ``interrupted``, ``died``, ``succeeded`` by another; None while it goes on, or cannot be read."""
    with contextlib.suppress(OSError, RequestError):
        released = read_json(attempt.lease_path).get("released")
        if released:
            return str(released)
        if latest_number(attempt.trial.path) > attempt.number:
            return "succeeded"
        return None if _lives(attempt.pid) else "died"
    return None


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _lines(trial: TrialFolder) -> int:
    try:
        return trial.curve_path.read_bytes().count(b"\n")
    except OSError:
        return 0
