"""Which process something belongs to: of which host and boot, and of which start of which Slurm job."""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path
from typing import TypedDict

from harness.core import processes


class ProcessRecord(TypedDict, total=False):
    """Which process it was: its id may be another one's by now."""

    pid: int
    process_start: float


class SlurmStart(TypedDict, total=False):
    """A job as Slurm numbers it, and how often it was started again."""

    slurm_job: str | None
    slurm_restart: int


class OwnerRecord(ProcessRecord, SlurmStart, total=False):
    """A process as others can look it up, also from another host."""

    host: str
    hostname: str


def this_process() -> OwnerRecord:
    """This process; outside of a Slurm job without one."""
    pid = os.getpid()
    return {
        "host": host_identity(),
        "hostname": socket.gethostname(),
        "pid": pid,
        "process_start": _process_start(pid),
        **slurm_start(),
    }


@functools.cache
def host_identity() -> str:
    """Hostname, boot, and namespaces of process ids and of time: where a process can be looked up."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespaces = [Path("/proc/self/ns/pid"), Path("/proc/self/ns/time")]
    parts = [
        socket.gethostname(),
        boot.read_text().strip() if boot.exists() else "",
        *(os.readlink(namespace) if namespace.exists() else "" for namespace in namespaces),  # noqa: PTH115
    ]
    return "/".join(parts)


@functools.cache
def _process_start(pid: int) -> float:
    """When this process began; asked by its id, because a fork inherits what is kept."""
    return processes.start_of(pid)


def slurm_start() -> SlurmStart:
    """The Slurm job of this process and its start; empty outside of one."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return {}
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    restart = os.environ.get("SLURM_RESTART_COUNT", "0")
    return {
        "slurm_job": job if array is None or task is None else f"{array}_{task}",
        "slurm_restart": int(restart) if restart.isdigit() else 0,
    }


def is_gone(owner: OwnerRecord) -> bool:
    """Whether a process is known to be gone: it ended on this host, or was of an earlier start of this Slurm job."""
    return _is_earlier_start(owner) or (owner.get("host") == host_identity() and not process_lives(owner))


def _is_earlier_start(owner: OwnerRecord) -> bool:
    """Slurm starts a job again on another node while the first node may only be out of sight."""
    mine = slurm_start()
    return bool(
        mine
        and owner.get("slurm_job") == mine["slurm_job"]
        and int(owner.get("slurm_restart", 0)) < mine["slurm_restart"]
    )


def process_lives(process: ProcessRecord) -> bool:
    """Whether the process of this host that wrote its ``pid`` and ``process_start`` still runs."""
    try:
        return processes.lives(int(process["pid"]), float(process["process_start"]))
    except (KeyError, ValueError):
        return False
