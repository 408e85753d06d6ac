"""What a worker is at, in one small file, for the process that started it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.core.files import TornFileError, encode_json
from harness.run import records

EXIT_STOPPED = 75
"""The worker was told to stop; work may be left."""
EXIT_CROWDED = 76
"""Memory ran out on a shared device; the worker has given its trial back."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker is at."""

    trial: str | None
    """The trial that it runs, relative to the run directory; None while it waits for others' results."""
    since: float
    """Seconds since the epoch."""
    claimable: int
    """Trials that anybody could have claimed when it looked last."""
    memory: tuple[int, int] | None = None
    """The most bytes of a GPU that its trials took so far, and that GPU's bytes; None before the first has ended."""


def write_report(path: Path, trial: str | None, claimable: int, memory: tuple[int, int] | None = None) -> None:
    """Replace the report; need not survive a power failure, because the worker does not."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(encode_json(asdict(WorkerReport(trial, time.time(), claimable, memory))))
    temporary.replace(path)


def read_report(path: Path) -> WorkerReport | None:
    """The last report; None before the first."""
    try:
        content = records.WORKER_REPORT.read(path)
    except (FileNotFoundError, TornFileError):
        return None
    memory = content.get("memory")
    taken = None if memory is None else (memory[0], memory[1])
    return WorkerReport(content["trial"], float(content["since"]), int(content["claimable"]), taken)
