"""What a worker is at, in one small file, for the process that started it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.files import TornFileError, encode_json, read_json

EXIT_STOPPED = 75
"""The worker was told to stop; work may be left."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker is at."""

    trial: str | None
    """The trial that it runs, relative to the run directory; None while it waits for others' results."""
    since: float
    """Seconds since the epoch."""
    claimable: int
    """Trials that anybody could have claimed when it looked last."""


def write_report(path: Path, trial: str | None, claimable: int) -> None:
    """Replace the report; need not survive a power failure, because the worker does not."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(encode_json(asdict(WorkerReport(trial, time.time(), claimable))))
    temporary.replace(path)


def read_report(path: Path) -> WorkerReport | None:
    """The last report; None before the first."""
    try:
        content = read_json(path, ("trial", "since", "claimable"))
    except (FileNotFoundError, TornFileError):
        return None
    return WorkerReport(content["trial"], float(content["since"]), int(content["claimable"]))
