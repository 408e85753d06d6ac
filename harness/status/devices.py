"""How much of a sweep's time its devices worked, from what its trials tell; and how busy this machine's GPUs are."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from harness.studies.overview import RunningTrial, RunOverview

ASK_SECONDS = 3.0
"""How long the driver may take to answer."""


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """How much of the time since the first trial began places were taken; a place runs one trial at a time."""

    places: int
    """The most trials that ran at a time: devices, or shares of devices where several trials have one."""
    since: float
    """When the first trial began, seconds since the epoch."""
    until: float
    """When the last one ended; now, while one runs."""
    busy_seconds: float
    """Device-seconds of all attempts, those included that failed, were interrupted or died."""

    @property
    def share(self) -> float:
        """Part of the time that the places were taken, 0 to 1: the rest is start-up, waiting and standing still."""
        whole = self.places * (self.until - self.since)
        return min(1.0, self.busy_seconds / whole) if whole > 0 else 0.0


def device_use(overview: RunOverview, now: float) -> DeviceUse | None:
    """The use of all devices since the first trial began; None before.

    Args:
        overview: of the run.
        now: the clock that leases are stamped with.
    """
    spans = [span for part in overview.parts for span in part.spans]
    spans += [(trial.claimed, max(now, trial.claimed)) for trial in overview.running if trial.claimed is not None]
    if not spans:
        return None
    # At equal times ends come first, so that a trial that follows another one at once is not beside it.
    turns = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    at_a_time = most = 0
    for _, turn in turns:
        at_a_time += turn
        most = max(most, at_a_time)
    busy = sum(part.ledger.spent.seconds for part in overview.parts)
    return DeviceUse(max(1, most), turns[0][0], turns[-1][0], busy)


def gpus_here(running: Sequence[RunningTrial]) -> list[int] | None:
    """Percent of the last moments in which each GPU of this machine computed; None where no trial uses one of them.

    Asked of ``nvidia-smi``; None too where that is not there or does not know.
    """
    host = socket.gethostname()
    mine = any(trial.host == host and (trial.device or "").startswith("cuda") for trial in running)
    program = shutil.which("nvidia-smi")
    if not mine or program is None:
        return None
    command = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.split()
    return [int(line) for line in lines] if lines and all(line.isdigit() for line in lines) else None
