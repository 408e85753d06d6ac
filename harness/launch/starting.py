"""Starting worker processes: each from scratch, or as forks of one process that has loaded everything."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from harness.launch.bounded import end_killed
from harness.launch.loading import Loading
from harness.launch.preloaded import READY, WORKER_NAME

_PR_SET_CHILD_SUBREAPER = 36

READY_SECONDS = 300.0
"""How long modules may take to load; on a slow file system that is minutes."""
ANSWER_SECONDS = 20.0
"""How long a fork may take on a busy machine."""
INTERRUPTED_SECONDS = 2.0
"""How long an answer is still waited for when a signal wants this process to end."""

_put_off: list[list[int]] = []
"""Signals that each `uninterrupted` section puts off."""


class WorkerProcess(Protocol):
    """A worker as its launcher sees it; ``subprocess.Popen`` is one."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises ``subprocess.TimeoutExpired``."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""


class Starter(Protocol):
    """Starts workers, in sessions of their own: Ctrl-C reaches the launcher alone, which ends them in order."""

    def prepare(self) -> None:
        """Get ready in the background."""

    def wait_until_ready(self) -> None:
        """Wait for that, so that a start takes a moment only."""

    def start(self, arguments: Sequence[str], log: Path) -> WorkerProcess:
        """Start ``python -m harness.work.worker`` with these arguments; it prints into ``log``."""

    def close(self) -> None:
        """Nothing more will be started; what runs goes on."""


class ProcessStarter:
    """Starts each worker as a new interpreter, which takes seconds to load its modules.

    Args:
        environment: variables of every worker.
        module: what it runs.
        prefix: the beginning of a command that runs the rest on another node; empty for this machine.
    """

    def __init__(
        self, environment: Mapping[str, str], module: str = "harness.work.worker", prefix: Sequence[str] = ()
    ) -> None:
        self._environment, self._module, self.prefix = environment, module, prefix

    def prepare(self) -> None:
        """Nothing can be done ahead."""

    def wait_until_ready(self) -> None:
        """Nothing to wait for."""

    def start(self, arguments: Sequence[str], log: Path) -> WorkerProcess:
        """Start a worker."""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", self._module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=self._environment,
                start_new_session=True,
            )
        return OnAnotherNode(process) if self.prefix else process

    def close(self) -> None:
        """Nothing is open."""


class OnAnotherNode:
    """A process that ``srun`` has started on another node."""

    def __init__(self, srun: subprocess.Popen[bytes]) -> None:
        self._srun, self.pid = srun, srun.pid

    def poll(self) -> int | None:
        """Its exit code."""
        return self._srun.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        return self._srun.wait(timeout)

    def terminate(self) -> None:
        """Ask it to end: srun hands USR2 on, and kills what it has started when it is itself terminated."""
        self._srun.send_signal(signal.SIGUSR2)

    def kill(self) -> None:
        """Kill it."""
        self._srun.kill()


class ForkStarter:
    """Starts workers as forks of ``harness.launch.preloaded``.

    They are this process's own children all the same: meanwhile the system gives it what its descendants leave behind.
    If the process that is forked cannot be used any more, or the system refuses a fork, the worker is started from
    scratch, so that an error shows where it always does. Nothing here waits without a time limit.

    Args:
        environment: variables of every worker.
        loading: a process that loads packages already, and suits them; this one's from now on.
    """

    def __init__(self, environment: Mapping[str, str], loading: Loading | None = None) -> None:
        self._environment, self._loading = environment, loading
        self._server: subprocess.Popen[bytes] | None = None
        self._ready = False

    def prepare(self) -> None:
        """Start loading modules, unless that has begun."""
        if self._server is not None:
            return
        self._ready = False
        _adopt_descendants(True)
        # Where it fails, the worker that is then started from scratch says why.
        with contextlib.suppress(OSError):
            loading, self._loading = self._loading or Loading(self._environment), None
            self._server = loading.become(self._environment)

    def wait_until_ready(self) -> None:
        """Wait until the modules are loaded, for a limited time."""
        self.prepare()
        # Where it ends instead, or hangs, the worker is started without it.
        self._ready = self._ready or self._line(READY_SECONDS) == READY

    def start(self, arguments: Sequence[str], log: Path) -> WorkerProcess:
        """Start a worker, as soon as the modules are loaded.

        Raises:
            OSError: the system has no room for it, or a signal put off by `uninterrupted` came before it began.
        """
        # Made here, so that a full disk is this process's error.
        log.open("wb").close()
        if self._server is None:
            self.wait_until_ready()
        answer = self._ask({"arguments": list(arguments), "log": str(log)}) if self._ready else None
        if answer is not None and answer > 0:
            return _Adopted(answer)
        if answer is None:
            self.close()
        if any(_put_off):
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
        return ProcessStarter(self._environment).start(arguments, log)

    def close(self) -> None:
        """End the process that is forked; workers go on."""
        if self._loading is not None:
            self._loading.close()
        if self._server is not None:
            end_killed(self._server)
            self._server = None
            _adopt_descendants(False)

    def _ask(self, request: Mapping[str, object]) -> int | None:
        """The process id of a new worker, or a number below 0 where none could be forked; None: the server is gone."""
        assert self._server is not None and self._server.stdin is not None
        try:
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            return None
        answer = self._line(ANSWER_SECONDS)
        return int(answer) if answer else None

    def _line(self, seconds: float) -> bytes:
        """Its next line; empty where it has ended, or does not answer in time, or a signal cannot wait for longer."""
        if self._server is None or self._server.stdout is None:
            return b""
        descriptor, line = self._server.stdout.fileno(), b""
        deadline, hurried = time.monotonic() + seconds, False
        while not line.endswith(b"\n"):
            if any(_put_off) and not hurried:
                deadline, hurried = min(deadline, time.monotonic() + INTERRUPTED_SECONDS), True
            left = deadline - time.monotonic()
            if left <= 0:
                return b""
            # In short turns, to see what signals have been put off meanwhile.
            if select.select([descriptor], [], [], min(left, 0.1))[0]:
                part = os.read(descriptor, 1)
                if not part:
                    return b""
                line += part
        return line


class _Adopted:
    """A child of this process that it did not start itself."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(WORKER_NAME, timeout or 0.0)
            time.sleep(0.02)
        return code

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        # Not after its end has been seen: the number may be another process's by then.
        if self.poll() is None:
            os.kill(self.pid, number)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off what signals do that end this process until this has ended, so that no started process is lost sight of.

    What waits in here does so for a short time only.
    """
    arrived: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
    _put_off.append(arrived)
    previous = [(number, signal.signal(number, lambda number, frame: arrived.append(number))) for number in numbers]
    try:
        yield
    finally:
        _put_off.pop()
        for number, handler in previous:
            signal.signal(number, handler)
        for got in arrived:
            signal.raise_signal(got)


def starter(environment: Mapping[str, str], loading: Loading | None = None) -> Starter:
    """The fastest way to start workers that this system has.

    Args:
        environment: variables of every worker.
        loading: a process that loads packages already; it is ended if it cannot be used.
    """
    can_fork = can_be_forked()
    if loading is not None and not (can_fork and loading.suits(environment)):
        loading.close()
        loading = None
    return ForkStarter(environment, loading) if can_fork else ProcessStarter(environment)


def can_be_forked() -> bool:
    """Whether this system lets a process adopt the workers that another one forks."""
    return sys.platform == "linux" and _adopt_descendants(False)


def _adopt_descendants(wanted: bool) -> bool:
    """Whether what this process's descendants leave behind becomes its own; False where the system cannot do that."""
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) == 0)


def is_worker(process: psutil.Process) -> bool:
    """Whether a process is a worker, however it was started; False where it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name() == WORKER_NAME or "harness.work.worker" in process.cmdline()
    return False
