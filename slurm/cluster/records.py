"""What a cluster has started: a state file with name, process id, start time and namespaces of each process."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core.errors import RequestError
from slurm.cluster.processes import ProcessId, find
from slurm.cluster.settings import Layout, Settings

NAMESPACES = ("net", "mnt", "uts")
FORMAT = 1
BUSY_SECONDS = 60.0


@dataclass(frozen=True)
class StartedProcess:
    """One started process.

    Attributes:
        name: munged, mariadbd, slurmdbd, slurmctld, a node's name for its slurmd, or ``namespace`` for the process
            that keeps the cluster's namespaces.
        pid: process id on this machine.
        started: its start, in clock ticks since the machine's.
        namespaces: kind to inode number.
    """

    name: str
    pid: int
    started: int
    namespaces: dict[str, int]

    @property
    def process(self) -> ProcessId:
        """The process."""
        return ProcessId(self.pid, self.started)


def record_of(name: str, pid: int) -> StartedProcess | None:
    """The record of a process as it is now; None when it has ended."""
    process = find(pid)
    if process is None:
        return None
    try:
        namespaces = {kind: Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for kind in NAMESPACES}
    except OSError:
        return None
    return StartedProcess(name, pid, process.started, namespaces)


@dataclass(frozen=True)
class ClusterState:
    """The contents of a state file.

    Attributes:
        settings: how the cluster was made.
        made_root: whether its folder was made for it, and goes with it.
        boot: the run of the machine in which its processes were started.
        records: the processes in the order of their start; one for each name.
    """

    settings: Settings
    made_root: bool
    boot: str
    records: tuple[StartedProcess, ...] = field(default=())

    def with_record(self, record: StartedProcess) -> ClusterState:
        """The state after a process was started, or started again."""
        known = self.record(record.name)
        if known is not None and known.process == record.process:
            return replace(self, records=tuple(record if other is known else other for other in self.records))
        return replace(self, records=(*(other for other in self.records if other is not known), record))

    def record(self, name: str) -> StartedProcess | None:
        """The record of one name."""
        return next((record for record in self.records if record.name == name), None)

    def alive(self, name: str) -> bool:
        """Whether the process of one name runs."""
        record = self.record(name)
        return record is not None and record.process.alive

    def save(self, path: Path) -> None:
        """Write the state file; a reader sees the old one or the new one, never half of one."""
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")
        partial.replace(path)


def boot_id() -> str:
    """A word that is another one after each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def load_state(layout: Layout) -> ClusterState | None:
    """Read the state file; None where there is none.

    Raises:
        RequestError: it cannot be understood.
    """
    try:
        content: dict[str, Any] = json.loads(layout.state.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, not {FORMAT}")
        # Process ids and ticks of an earlier run of the machine mean nothing now.
        listed = content["records"] if content["boot"] == boot_id() else []
        records = tuple(StartedProcess(**record) for record in listed)
        return ClusterState(Settings(**content["settings"]), content["made_root"], boot_id(), records)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"{layout.state}: not a state file of this version ({error}); end what runs there with stop"
        ) from error


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Keep other commands from changing the cluster meanwhile.

    Raises:
        RequestError: another command has been at it for a minute.
    """
    with layout.lock.open("a") as file:
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise RequestError(
                        f"{layout.root}: another command is changing this cluster; wait for it"
                    ) from None
                time.sleep(0.1)
        yield
