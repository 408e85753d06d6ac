"""Which process a process id means: ids are reused, and clocks are set while processes live."""

from __future__ import annotations

from pathlib import Path

import psutil


def start_of(pid: int) -> float:
    """When a process of this host began, in a unit of its own that no step of the wall clock changes.

    On Linux these are clock ticks since the host booted. Only equality has a meaning, and only within one boot.

    Raises:
        psutil.NoSuchProcess: there is no such process.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError) as error:
        if Path("/proc/self/stat").exists():
            raise psutil.NoSuchProcess(pid) from error
        return psutil.Process(pid).create_time()
    # The second field is the program's name in brackets, which may hold anything; the start is the 22nd.
    return float(status.rpartition(b")")[2].split()[19])


def lives(pid: int, start: float) -> bool:
    """Whether the process of this host that has this id and began at ``start`` still runs; a zombie does not."""
    try:
        return start_of(pid) == start and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
