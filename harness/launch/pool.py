"""Worker processes on one machine, replaced as they end; what the local launcher and every Slurm job start."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import EXIT_BAD_REQUEST, RequestError
from harness.core.lease import record_death
from harness.launch.bounded import DEATH_SECONDS
from harness.launch.packing import Packing
from harness.launch.starting import ProcessStarter, Starter, WorkerProcess, starter, uninterrupted
from harness.launch.worker_command import worker_arguments
from harness.run.directory import RunDirectory
from harness.work.deaths import OutOfMemoryCounter, describe_death
from harness.work.worker_report import EXIT_CROWDED, EXIT_STOPPED, WorkerReport, read_report

if TYPE_CHECKING:
    from harness.studies.study import Roots

POLL_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""How long a worker may take to write its checkpoint when it is told to stop."""
FAST_DEATH_SECONDS = 2.0
MAX_FAST_DEATHS = 5
LONGEST_DELAY = 60.0
"""Seconds at most between two attempts to start a worker that the system has no room for."""
GIVE_UP_SECONDS = 900.0
"""How long a pool without any worker goes on trying."""
NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR})
"""Why a process cannot be started at present; EINTR: a signal came first."""


@dataclass(frozen=True, slots=True)
class _Started:
    """A worker process."""

    process: WorkerProcess
    log: Path
    report: Path
    at: float
    """When it was started, on the monotonic clock."""


@dataclass
class WorkerPool:
    """Worker processes that run trials of one run directory.

    Attributes:
        count: how many at a time on each node.
        threads: CPU threads of each.
        devices: what they run on, taken in turn; none for processes that train nothing.
        name: the first part of their logs' names, unique in the run directory.
        reports: a folder for what they are at.
        arguments: further words of their command lines.
        starters: one for each node; None for the fastest way to start workers on this machine.
        packing: starts more workers than ``count`` on the devices of this machine, and ends some, as memory allows.
    """

    run: RunDirectory
    roots: Roots
    count: int
    threads: int
    devices: Sequence[str]
    name: str
    reports: Path
    arguments: Sequence[str] = ()
    starters: Sequence[Starter] | None = None
    packing: Packing | None = None
    done: bool = False
    """Whether a worker found nothing left to do."""
    _workers: dict[int, _Started] = field(default_factory=dict)
    _postponed: dict[int, float] = field(default_factory=dict)
    """When to try again to start a worker, on the monotonic clock, by its place."""
    _refusals: int = 0
    """How often in a row the system had no room for a worker."""
    _refused_since: float = 0.0
    _fast_deaths: int = 0
    _started: int = 0
    _memory: OutOfMemoryCounter = field(default_factory=OutOfMemoryCounter)
    _starters: Sequence[Starter] = field(init=False)

    def __post_init__(self) -> None:
        self._starters = [starter(worker_environment(self.threads))] if self.starters is None else self.starters

    @property
    def running(self) -> int:
        """How many workers there are now."""
        return len(self._workers)

    def prepare(self) -> None:
        """Begin to load what workers need; the pool must be stopped even if it is never started."""
        _see_children_end()
        for one in self._starters:
            one.prepare()

    def start(self) -> None:
        """Start all workers; those that the system has no room for now are started by `poll`."""
        _see_children_end()
        for place in range(self.count * len(self._starters)):
            self._start(place)

    def poll(self) -> bool:
        """Replace workers that died; False when all are gone because nothing is left to do.

        Raises:
            RequestError: a worker says that it cannot go on, or workers keep dying at once, or none can be started.
        """
        for place, worker in list(self._workers.items()):
            code = worker.process.poll()
            if code is None:
                continue
            del self._workers[place]
            if code == EXIT_BAD_REQUEST:
                raise RequestError(_refusal(worker.log))
            if code == 0:
                self.done = True
            elif code == EXIT_CROWDED and self.packing is not None:
                self.packing.crowded(self._device(place), 1 + len(self._sharing(place)))
            elif code != EXIT_STOPPED:
                self._record_death(worker, code)
                self._count_death(code, worker)
            if not self.done and self._has_room(place):
                self._start(place)
        for place, due in list(self._postponed.items()):
            if self.done or place in self._workers or not self._has_room(place):
                del self._postponed[place]
            elif time.monotonic() >= due:
                self._start(place)
        if self.packing is not None:
            self._pack(self.packing)
        return bool(self._workers or self._postponed)

    def pause(self) -> None:
        """Wait a moment, or until a worker ends."""
        deadline = time.monotonic() + POLL_SECONDS
        while time.monotonic() < deadline and all(w.process.poll() is None for w in self._workers.values()):
            time.sleep(0.05)

    def at(self) -> list[WorkerReport]:
        """What each worker is at; those that have not got so far are left out."""
        found = [read_report(worker.report) for worker in self._workers.values()]
        return [report for report in found if report is not None]

    def stop(self, notify: Callable[[str], None], seconds: float = GRACE_SECONDS) -> None:
        """Ask every worker for a checkpoint and an orderly end; kill those that take longer than ``seconds``."""
        processes = [worker.process for worker in self._workers.values()]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + seconds
        try:
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.1, deadline - time.monotonic()))
        except KeyboardInterrupt:
            notify("killing the workers; their trials go on from the last checkpoint")
        for process in processes:
            if process.poll() is None:
                process.kill()
            try:
                self.done = process.wait(DEATH_SECONDS) == 0 or self.done
            except subprocess.TimeoutExpired:
                notify(f"process {process.pid} does not end although it was killed: its file system may hang")
        self._workers.clear()
        self._postponed.clear()
        for one in self._starters:
            one.close()

    def _device(self, place: int) -> str:
        return self.devices[place % len(self.devices)]

    def _sharing(self, place: int) -> list[int]:
        """Places on the same device whose workers live."""
        return [other for other in self._workers if self._device(other) == self._device(place)]

    def _has_room(self, place: int) -> bool:
        return self.packing is None or len(self._sharing(place)) < self.packing.limit(self._device(place))

    def _pack(self, packing: Packing) -> None:
        """Start a worker more, or end what is too many, on each device."""
        reports = {place: read_report(worker.report) for place, worker in self._workers.items()}
        for place, report in reports.items():
            packing.note(self._device(place), report)
        newest = max(filter(None, reports.values()), key=lambda report: report.since, default=None)
        for first, device in enumerate(self.devices):
            places = self._sharing(first)
            for place in places[packing.limit(device) :]:
                self._workers[place].process.terminate()
            if not self.done and newest is not None and newest.claimable > 0 and len(places) < packing.wanted(device):
                every = range(first, len(self.devices) * packing.most, len(self.devices))
                self._start(next(place for place in every if place not in self._workers))

    def _start(self, place: int) -> None:
        """Start a worker, or postpone that where the system has no room for one."""
        if self._postponed.get(place, 0.0) > time.monotonic():
            return
        try:
            self._start_now(place)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._postpone(place, error)
        else:
            self._postponed.pop(place, None)
            self._refusals = 0

    def _postpone(self, place: int, error: OSError) -> None:
        now = time.monotonic()
        if self._refusals == 0:
            self._refused_since = now
            print(f"a worker cannot be started now ({error.strerror}); trying again", file=sys.stderr, flush=True)
        if not self._workers and now - self._refused_since > GIVE_UP_SECONDS:
            raise RequestError(
                f"no worker can be started: {error.strerror}; end some of your processes on this machine, or raise the "
                "limit (`ulimit -u` for processes, `ulimit -n` for files)"
            )
        self._postponed[place] = now + min(LONGEST_DELAY, 2.0**self._refusals)
        self._refusals = min(self._refusals + 1, 10)

    def _start_now(self, place: int) -> None:
        self._started += 1
        name = f"{self.name}-{self._started}"
        log, report = self.run.worker_log(name), self.reports / f"{name}.json"
        by = self._starters[0 if self.packing is not None else place // self.count]
        # On another node the number of this process means nothing; Slurm ends what it has started there.
        elsewhere = isinstance(by, ProcessStarter) and by.prefix
        packed = self.packing is not None and self.packing.limit(self._device(place)) > 1
        arguments = worker_arguments(
            self.run,
            self.roots,
            self.threads,
            device=self._device(place) if self.devices else None,
            parent=None if elsewhere else os.getpid(),
            report=report,
            further=[*(["--packed"] if packed else []), *self.arguments],
        )
        by.wait_until_ready()
        with uninterrupted():
            self._workers[place] = _Started(by.start(arguments, log), log, report, time.monotonic())

    def _record_death(self, worker: _Started, code: int) -> None:
        report = read_report(worker.report)
        cause = describe_death(code, self._memory.rose())
        if report is not None and report.trial is not None:
            record_death(self.run.path / report.trial, worker.process.pid, cause)

    def _count_death(self, code: int, worker: _Started) -> None:
        # A killed worker is replaced for ever; one that fails right after its start will do so again.
        fast = code > 0 or time.monotonic() - worker.at < FAST_DEATH_SECONDS
        self._fast_deaths = self._fast_deaths + 1 if fast else 0
        if self._fast_deaths >= MAX_FAST_DEATHS:
            raise RequestError(f"{MAX_FAST_DEATHS} workers in a row died (exit code {code}): {_last_error(worker.log)}")


def unique_name() -> str:
    """A name for a pool or a worker: the process id, which people look for, is unique within one container only."""
    return f"{os.getpid()}-{secrets.token_hex(3)}"


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker with so many CPU threads."""
    # Threads that spin while they wait bring a shared machine to a crawl: ten times slower steps were seen.
    # A step frees what the next one takes again: given back to the system in between, its pages are cleared each time.
    kept = {"MALLOC_MMAP_THRESHOLD_": str(1 << 28), "MALLOC_TRIM_THRESHOLD_": str(1 << 31)}
    return {"OMP_WAIT_POLICY": "PASSIVE", **kept, **os.environ, "OMP_NUM_THREADS": str(threads)}


def _see_children_end() -> None:
    """Undo what some callers leave behind: where SIGCHLD is ignored, nobody learns how a child has ended."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _refusal(log: Path) -> str:
    """Why a worker refused to go on; its log is empty where it lies on a full disk."""
    if log.stat().st_size == 0:
        return (
            f"{log}: a worker stopped and could not write why, so there is probably no space left on the disk; "
            "free some and run the same command again"
        )
    return _last_error(log)


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    marked = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return marked[-1] if marked else f"{lines[-1] if lines else 'no output'} (see {log})"
