"""The local launcher: worker processes on this machine, replaced as they end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import EXIT_BAD_REQUEST, RequestError
from harness.spec import LaunchSpec
from harness.store import RunDirectory
from harness.studies import Roots
from harness.worker import EXIT_STOPPED

POLL_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""How long a worker may take to write its checkpoint when it is told to stop."""
FAST_DEATH_SECONDS = 2.0
MAX_FAST_DEATHS = 5


@dataclass
class LocalWorkers:
    """The worker processes of one launch."""

    run: RunDirectory
    launch: LaunchSpec
    roots: Roots
    _processes: dict[int, tuple[subprocess.Popen[bytes], Path, float]] = field(default_factory=dict)
    _done: bool = False
    _fast_deaths: int = 0
    _started: int = 0

    def __post_init__(self) -> None:
        self.devices = available_devices()
        self.count = self._worker_count()
        cores = len(os.sched_getaffinity(0))
        wanted = self.launch.threads
        self.threads = max(1, cores // self.count) if wanted == "auto" else wanted

    def start(self) -> None:
        """Start all workers."""
        for place in range(self.count):
            self._start(place)

    def poll(self) -> bool:
        """Replace workers that died; False when all are gone because nothing is left to do.

        Raises:
            RequestError: a worker says that it cannot go on, or workers keep dying at once.
        """
        for place, (process, log, started) in list(self._processes.items()):
            code = process.poll()
            if code is None:
                continue
            del self._processes[place]
            if code == EXIT_BAD_REQUEST:
                raise RequestError(_refusal(log))
            if code == 0:
                self._done = True
            elif code != EXIT_STOPPED:
                self._count_death(code, log, time.monotonic() - started)
            if not self._done:
                self._start(place)
        return bool(self._processes)

    def pause(self) -> None:
        """Wait a moment, or until a worker ends."""
        deadline = time.monotonic() + POLL_SECONDS
        while time.monotonic() < deadline and all(p.poll() is None for p, _, _ in self._processes.values()):
            time.sleep(0.05)

    def stop(self, notify: Callable[[str], None]) -> None:
        """Ask every worker for a checkpoint and an orderly end; kill those that take too long."""
        processes = [process for process, _, _ in self._processes.values()]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.1, deadline - time.monotonic()))
        except KeyboardInterrupt:
            notify("killing the workers; their trials go on from the last checkpoint")
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self._processes.clear()

    def _start(self, place: int) -> None:
        self._started += 1
        log = self.run.worker_log(f"{os.getpid()}-{self._started}")
        command = [
            sys.executable, "-m", "harness.worker", str(self.run.path),
            "--device", self.devices[place % len(self.devices)],
            "--threads", str(self.threads),
            "--parent", str(os.getpid()),
            "--data-root", str(self.roots.data),
            "--cache-root", str(self.roots.cache),
        ]  # fmt: skip
        # Threads that spin while they wait bring a shared machine to a crawl: ten times slower steps were seen.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": str(self.threads)}
        with log.open("wb") as stream:
            # A session of its own: Ctrl-C reaches the sweep alone, which then ends its workers in order.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=environment,
                start_new_session=True,
            )
        self._processes[place] = (process, log, time.monotonic())

    def _count_death(self, code: int, log: Path, lived: float) -> None:
        # A killed worker is replaced for ever; one that fails right after its start will do so again.
        self._fast_deaths = self._fast_deaths + 1 if code > 0 or lived < FAST_DEATH_SECONDS else 0
        if self._fast_deaths >= MAX_FAST_DEATHS:
            raise RequestError(f"{MAX_FAST_DEATHS} workers in a row died (exit code {code}): {_last_error(log)}")

    def _worker_count(self) -> int:
        wanted = self.launch.workers
        if wanted != "auto":
            return wanted
        if self.devices == ["cpu"]:
            return min(8, len(os.sched_getaffinity(0)))
        return len(self.devices) * self.launch.trials_per_device


def available_devices() -> list[str]:
    """Every GPU of this machine, else the CPU."""
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


def _refusal(log: Path) -> str:
    """Why a worker refused to go on; its log is empty where it lies on a full disk."""
    if log.stat().st_size == 0:
        return (
            f"{log}: a worker stopped and could not write why, so there is probably no space left on the disk; "
            "free some and give the same command again"
        )
    return _last_error(log)


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    marked = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return marked[-1] if marked else f"{lines[-1] if lines else 'no output'} (see {log})"
