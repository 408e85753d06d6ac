"""The processes of jobs: known by what their environment says, whatever session they are in.

One that a job starts with an emptied environment is not known and outlives the job; Slurm's control groups would not
let it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from slurm.cluster.processes import ProcessId, end_all, find, running

MAIN = Path(__file__).with_name("main.py")
FOLDER = "STAND_IN_SLURM"
JOB = "STAND_IN_SLURM_JOB"
STEP = "STAND_IN_SLURM_STEP"

__all__ = ["FOLDER", "JOB", "STEP", "ProcessId", "end_all", "find", "of_folder", "of_job", "send", "start", "unmarked"]


def of_job(folder: Path, marker: str, *, steps_only: bool = False) -> list[ProcessId]:
    """The processes of one start of a job, those of its steps alone if asked."""
    wanted = {f"{FOLDER}={folder}".encode(), f"{JOB}={marker}".encode()}

    def belongs(pid: int) -> bool:
        entries = _environment(pid)
        return wanted <= entries and (not steps_only or any(entry.startswith(STEP.encode()) for entry in entries))

    return running(belongs)


def of_folder(folder: Path) -> list[ProcessId]:
    """Everything that a stand-in has started and that still runs, this process excepted."""
    wanted = f"{FOLDER}={folder}".encode()
    return running(lambda pid: pid != os.getpid() and wanted in _environment(pid))


def send(processes: list[ProcessId], *signals: signal.Signals) -> None:
    """Send signals, one after the other, to each of some processes."""
    for process in processes:
        for number in signals:
            process.signal(number)


def start(folder: Path, *words: str) -> list[int]:
    """Start one of the stand-in's own programs in a session of its own; its process id and start time."""
    environment = {**unmarked(dict(os.environ)), FOLDER: str(folder)}
    log = (os.POSIX_SPAWN_OPEN, 2, str(folder / "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1)]
    command = [sys.executable, "-IS", str(MAIN), str(folder), *words]
    pid = os.posix_spawn(sys.executable, command, environment, file_actions=[*null, log], setsid=True)
    found = find(pid)
    return [pid, 0 if found is None else found.started]


def unmarked(environment: dict[str, str]) -> dict[str, str]:
    """An environment without the marks of the job that this process may belong to."""
    return {name: value for name, value in environment.items() if name not in (FOLDER, JOB, STEP)}


def _environment(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()
