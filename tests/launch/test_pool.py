"""A pool of workers loses sight of none, however its launcher is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.launch.pool import WorkerPool
from harness.launch.starting import WorkerProcess
from harness.store import RunDirectory
from harness.studies import Roots


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
