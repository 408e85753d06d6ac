"""A pool of workers loses sight of none, however its launcher is interrupted."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.core.errors import RequestError
from harness.launch.pool import WorkerPool
from harness.launch.starting import WorkerProcess
from harness.run.directory import RunDirectory
from harness.studies.study import Roots


class InterruptedStarter:
    """The user presses Ctrl-C while a process is being started."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def prepare(self) -> None: ...

    def wait_until_ready(self) -> None: ...

    def start(self, arguments: Sequence[str], log: Path) -> WorkerProcess:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.processes.append(process)
        os.kill(os.getpid(), signal.SIGINT)
        return process

    def close(self) -> None: ...


def test_ctrl_c_while_a_worker_is_started_leaves_none_behind(tmp_path: Path) -> None:
    run, by = RunDirectory(tmp_path), InterruptedStarter()
    run.workers.mkdir()
    pool = WorkerPool(run, Roots(tmp_path, tmp_path), 2, 1, ["cpu"], "1", tmp_path, starters=[by])
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.start()
    finally:
        signal.signal(signal.SIGINT, previous)
    (started,) = by.processes
    assert started.poll() is None
    pool.stop(print)
    assert started.poll() == -signal.SIGTERM


class FullMachine:
    """A machine that has no room for the first processes that it is asked for."""

    def __init__(self, refusals: int, number: int) -> None:
        self.refusals, self.number, self.asked = refusals, number, 0

    def prepare(self) -> None: ...

    def wait_until_ready(self) -> None: ...

    def start(self, arguments: Sequence[str], log: Path) -> WorkerProcess:
        self.asked += 1
        if self.asked <= self.refusals:
            raise OSError(self.number, os.strerror(self.number))
        return subprocess.Popen([sys.executable, "-c", "pass"])

    def close(self) -> None: ...


def pool_on(machine: FullMachine, folder: Path, count: int) -> WorkerPool:
    run = RunDirectory(folder)
    run.workers.mkdir()
    return WorkerPool(run, Roots(folder, folder), count, 1, ["cpu"], "1", folder, starters=[machine])


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_workers_that_cannot_be_started_are_started_later(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = FullMachine(3, number)
    pool = pool_on(machine, tmp_path, 2)
    pool.start()
    assert pool.running == 0
    while pool.poll():
        pool.pause()
    assert pool.done and machine.asked >= 4
    said = capsys.readouterr().err
    assert said == f"a worker cannot be started now ({os.strerror(number)}); trying again\n"
    pool.stop(print)


def test_other_errors_of_a_start_are_shown(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        pool_on(FullMachine(1, errno.ENOSPC), tmp_path, 1).start()


def test_a_machine_that_has_no_room_at_all_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.launch.pool.GIVE_UP_SECONDS", 1.0)
    pool = pool_on(FullMachine(1000, errno.EAGAIN), tmp_path, 1)
    pool.start()
    with pytest.raises(RequestError, match=r"^no worker can be started: Resource temporarily unavailable; .*ulimit -u"):
        while pool.poll():
            pool.pause()


class Unkillable:
    """A process that hangs in the kernel."""

    pid = 7

    def poll(self) -> int | None:
        return None

    def wait(self, timeout: float | None = None) -> int:
        assert timeout is not None, "waited for without end"
        raise subprocess.TimeoutExpired("worker", timeout)

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def test_a_worker_that_outlives_sigkill_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = FullMachine(0, 0)
    monkeypatch.setattr(machine, "start", lambda *_: Unkillable())
    pool = pool_on(machine, tmp_path, 1)
    pool.start()
    said: list[str] = []
    pool.stop(said.append, 0.1)
    assert said == ["process 7 does not end although it was killed: its file system may hang"]
