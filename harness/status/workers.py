"""What became of each worker: by the run's own files, then by Slurm's queue, then by its accounting."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.files import TornFileError
from harness.launch.slurm.commands import (
    EndedJob,
    QueuedJob,
    SlurmError,
    SlurmSilent,
    accounting,
    queue,
)
from harness.launch.slurm.environment import use_cluster_of
from harness.launch.slurm.files import JOB, JobRecord, SlurmFiles
from harness.run.directory import RunDirectory
from harness.studies.overview import RunningTrial

QUEUE_SECONDS = 3.5
"""How long squeue may take: whoever asks how a run stands does not want to wait for Slurm."""
ACCOUNTING_SECONDS = 3.0
ASK_AGAIN_SECONDS = 30.0
"""Slurm is asked at most so often while somebody watches."""

_WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})
_ENDED_BY_ITSELF = frozenset({"done", "idle", "stopped", "refused", "failed"})
_ENDED = _ENDED_BY_ITSELF | {"lost", "cancelled"}


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A job of a cluster, or a process outside of one, that runs trials."""

    id: str
    """``123_4`` on Slurm, else ``HOST:PID``."""
    state: str
    """running, queued, starting, not responding, unknown, lost, cancelled, or how it said that it ended: done, idle,
    stopped, refused, failed."""
    reason: str
    """Why it waits, ended, or cannot be judged; empty otherwise."""
    host: str
    trials: int
    """Trials that it holds now."""
    starts: int
    """How often it was started; 0 before the first time."""
    until: float | None
    """End of its time, seconds since the epoch, where that is known."""


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """The workers of a run."""

    states: tuple[WorkerState, ...]
    trouble: str | None
    """Why Slurm could not be asked; None where it answered or was not needed."""
    cancelled: bool
    """Whether the user wants no more jobs."""
    damaged: tuple[str, ...]
    """Files that cannot be read."""
    command: str | None = None
    """The sweep command that submitted them last, with the folder that it was given in; None outside of Slurm."""
    gone: bool = False
    """Whether Slurm has none of the jobs any more, so that nothing goes on by itself."""

    def counts(self) -> list[tuple[str, int]]:
        """Workers by state, in the order in which the states are met."""
        return list(Counter(worker.state for worker in self.states).items())


class WorkerReader:
    """Reads what became of the workers of a run, again and again.

    Args:
        run: the run directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._files = SlurmFiles(run)
        self._slurm = _Slurm()

    def read(self, running: Sequence[RunningTrial], now: float, complete: bool) -> WorkerCounts:
        """What became of the workers.

        Args:
            running: trials that living workers hold.
            now: the clock that the run's files are stamped with.
            complete: nothing is left to do, the report included, so nobody needs to know what Slurm says.
        """
        own = _outside_of_slurm(running)
        if not self._files.exists:
            return WorkerCounts(tuple(own), None, False, ())
        try:
            launch, records, jobs = self._files.launch(), self._records(now), self._submitted()
        except TornFileError as error:
            return WorkerCounts(tuple(own), None, self._files.cancelled, (str(error.path),))
        use_cluster_of(launch)
        holding = Counter(trial.job for trial in running if trial.job is not None)
        jobs = list(dict.fromkeys([*jobs, *records, *holding]))
        silent = [job for job in jobs if job not in holding and not (job in records and records[job][-1].running)]
        self._slurm.ask(str(launch["job_name"]), [] if complete else silent)
        states = [self._state(job, records.get(job, ()), holding[job]) for job in jobs]
        # What a job said last is not enough: one that was stopped may be about to start again.
        gone = not complete and self._slurm.trouble is None and all(state.state in _ENDED for state in states)
        trouble, cancelled = self._slurm.trouble, self._files.cancelled
        return WorkerCounts((*states, *own), trouble, cancelled, (), launch.get("command"), gone)

    def _records(self, now: float) -> dict[str, list[JobRecord]]:
        """Every start of every job, oldest first."""
        # Not by ``SlurmFiles.jobs``, which needs to write in order to read the clock.
        paths = (self._files.root / "jobs").glob("*.json")
        records = [JobRecord(path, JOB.read(path), now - path.stat().st_mtime) for path in paths]
        found: dict[str, list[JobRecord]] = {}
        for record in sorted(records, key=lambda r: (int(r.content.get("restart", 0)), r.content.get("started", 0.0))):
            found.setdefault(str(record.content["job"]), []).append(record)
        return found

    def _submitted(self) -> list[str]:
        """Every job that was submitted, oldest first; one that was submitted alone is no array."""
        ids = []
        for entry in self._files.submissions():
            job, tasks = str(entry["job"]), int(entry["tasks"])
            ids += [job] if tasks == 1 else [f"{job}_{task}" for task in range(tasks)]
        return ids

    def _state(self, job: str, records: Sequence[JobRecord], trials: int) -> WorkerState:
        latest = records[-1].content if records else None
        state, reason = self._judge(job, records, trials)
        host = "" if latest is None else latest.get("host", "")
        until = latest.get("until") if latest is not None and state == "running" else None
        return WorkerState(job, state, reason, host, trials, len(records), until)

    def _judge(self, job: str, records: Sequence[JobRecord], trials: int) -> tuple[str, str]:
        """State and reason."""
        queued = self._slurm.queued.get(job)
        said = records[-1].content if records else None
        # What an earlier start said last is history: its node may have died with it a moment ago.
        if trials or (records and records[-1].running):
            return "running", "" if trials else "nothing to do" if records[-1].idle_since is not None else ""
        if queued is not None and queued.state in _WAITING:
            return "queued", queued.reason or queued.state
        if said is not None and said["state"] in _ENDED_BY_ITSELF:
            return said["state"], said.get("reason", "")
        if self._slurm.trouble is not None:
            return "unknown", "Slurm is silent" if self._slurm.silent else "no Slurm here"
        if queued is not None and queued.living:
            # A file that says "running" and is not renewed: the node hangs, or cannot reach the file system.
            hangs = said is not None and said["state"] == "running"
            return ("not responding" if hangs else "starting"), f"{queued.state} on {queued.node}".removesuffix(" on ")
        ended = self._slurm.ended.get(job)
        word = ended.state if ended is not None else queued.state if queued is not None else ""
        return ("cancelled" if word == "CANCELLED" else "lost"), word


class _Slurm:
    """What Slurm says, asked seldom enough not to burden it."""

    def __init__(self) -> None:
        self.queued: Mapping[str, QueuedJob] = {}
        self.ended: dict[str, EndedJob] = {}
        self.trouble: str | None = None
        self.silent = False
        self._asked = -ASK_AGAIN_SECONDS

    def ask(self, name: str, jobs: Sequence[str]) -> None:
        """Ask for jobs that the run's files say nothing of, unless it was asked a moment ago."""
        if not jobs or time.monotonic() - self._asked < ASK_AGAIN_SECONDS:
            return
        try:
            self.queued = {job.id: job for job in queue(name, timeout=QUEUE_SECONDS)}
            self.trouble = None
        except SlurmError as error:
            self.queued, self.trouble, self.silent = {}, str(error), isinstance(error, SlurmSilent)
        else:
            gone = [job for job in jobs if job not in self.queued or not self.queued[job].living]
            self._look_up([job for job in gone if job not in self.ended])
        # From the end of the question: one that is not answered takes its time.
        self._asked = time.monotonic()

    def _look_up(self, jobs: Sequence[str]) -> None:
        try:
            found = accounting(jobs, timeout=ACCOUNTING_SECONDS)
        except SlurmError:
            # Many sites keep no accounting; what it would tell is a word more about a lost job.
            return
        self.ended |= found


def _outside_of_slurm(running: Sequence[RunningTrial]) -> list[WorkerState]:
    places = Counter((trial.host, trial.pid) for trial in running if trial.job is None)
    return [
        WorkerState(f"{host}:{pid}", "running", "", host, trials, 1, None) for (host, pid), trials in places.items()
    ]
