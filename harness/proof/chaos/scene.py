"""A sweep that is being disturbed: its processes, and which of its workers is training what."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from harness.core import lease as leases
from harness.core.errors import RequestError
from harness.core.files import read_json
from harness.launch.starting import is_worker
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder

END_SECONDS = 30.0
"""How long processes may take to end in order when chaos itself is interrupted."""


@dataclass(frozen=True, slots=True)
class WatchedAttempt:
    """A worker's attempt on a trial."""

    pid: int
    trial: TrialFolder
    number: int
    """Of its lease."""

    @property
    def lease_path(self) -> Path:
        """The file of its lease."""
        return leases.lease_files(self.trial.path)[self.number]


@dataclass
class _Seen:
    """What was seen of an attempt's curve."""

    epochs: int
    grew: bool = False


class RunWatch:
    """Sees from the files of a run which attempts are in their training loop.

    An attempt is, from when its curve was seen to grow, which only the loop does, until the curve is whole or the lease
    is given back. What is doubtful does not count.
    """

    def __init__(self, run: RunDirectory, epochs: int) -> None:
        self._run, self._epochs = run, epochs
        self._seen: dict[WatchedAttempt, _Seen] = {}
        self._over: set[Path] = set()

    def training(self, workers: Iterable[int]) -> dict[int, WatchedAttempt]:
        """The attempts in training of these processes, by process id."""
        pids, found = set(workers), {}
        for trial in self._run.trials():
            if trial.path in self._over:
                continue
            attempt = self._attempt(trial)
            if attempt is None or attempt.pid not in pids:
                continue
            lines = _lines(trial.curve_path)
            seen = self._seen.setdefault(attempt, _Seen(lines))
            seen.grew = seen.grew or lines > seen.epochs
            seen.epochs = lines
            # A backbone that is trained here first may have other epochs.
            if seen.grew and (lines < self._epochs or trial.stage == "source"):
                found[attempt.pid] = attempt
        return found

    def was_training(self, attempt: WatchedAttempt, at: float) -> bool:
        """Whether an attempt that was in training a moment ago still was at a time (seconds since the epoch)."""
        with contextlib.suppress(OSError):
            whole = _lines(attempt.trial.curve_path) >= self._epochs
            if whole or attempt.trial.finished:
                return attempt.trial.curve_path.stat().st_mtime >= at
        return True

    def holds(self, attempt: WatchedAttempt) -> bool:
        """Whether an attempt has its trial still; for certain only while its process sleeps."""
        return self._attempt(attempt.trial) == attempt

    def succeeded(self, attempt: WatchedAttempt) -> bool:
        """Whether another attempt has taken the trial over."""
        return leases.latest_number(attempt.trial.path) > attempt.number

    def _attempt(self, trial: TrialFolder) -> WatchedAttempt | None:
        # Files come and go under these looks, and what cannot be read now is seen a moment later.
        with contextlib.suppress(OSError, RequestError, ValueError):
            if trial.finished:
                self._over.add(trial.path)
                return None
            number = leases.latest_number(trial.path)
            if number:
                content = read_json(leases.lease_files(trial.path)[number])
                if not content.get("released"):
                    return WatchedAttempt(int(content.get("pid", 0)), trial, number)
        return None


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


@dataclass
class Sweep:
    """The processes of a sweep command, which is given again when it was killed.

    Attributes:
        command: its words.
        environment: variables of its own.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    said: IO[bytes] | None = None
    stopped: set[int] = field(default_factory=set)
    """Processes that were suspended."""

    def start(self, output: Path) -> None:
        """Give the command."""
        self.starts += 1
        self.said = output.open("w+b")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.said,
            env={**os.environ, **self.environment}, start_new_session=True,
        )  # fmt: skip

    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def errors(self) -> str:
        """What it printed."""
        assert self.said is not None
        self.said.seek(0)
        text = self.said.read().decode(errors="replace").strip()
        self.said.close()
        return text

    def workers(self) -> list[psutil.Process]:
        """Its workers that live."""
        assert self.process is not None
        try:
            return [child for child in psutil.Process(self.process.pid).children() if is_worker(child)]
        except psutil.NoSuchProcess:
            return []

    def send(self, pid: int, number: signal.Signals) -> bool:
        """Send a signal to a process of this sweep; False where it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            if number == signal.SIGSTOP:
                self.stopped.add(pid)
            elif number == signal.SIGCONT:
                self.stopped.discard(pid)
            return True
        self.stopped.discard(pid)
        return False

    def suspend(self, pid: int, seconds: float = 5.0) -> bool:
        """Let a process of this sweep sleep, and wait until it does; False where it is gone, or does not in time."""
        until = time.monotonic() + seconds
        if not self.send(pid, signal.SIGSTOP):
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            while time.monotonic() < until:
                if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                    return True
                time.sleep(0.01)
        return False

    def kill(self) -> None:
        """Kill the command and every process that it has started, and wait until they are gone."""
        assert self.process is not None
        victims = self._tree()
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        self.process.wait()
        psutil.wait_procs(victims, END_SECONDS)
        self.stopped.clear()

    def end(self) -> None:
        """End it in order, with checkpoints; kill what does not end."""
        if self.process is None or self.process.poll() is not None:
            return
        for pid in [*self.stopped]:
            self.send(pid, signal.SIGCONT)
        self.process.terminate()
        deadline = time.monotonic() + END_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        self.kill()

    def _tree(self) -> list[psutil.Process]:
        assert self.process is not None
        try:
            mine = psutil.Process(self.process.pid)
            return [mine, *mine.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
