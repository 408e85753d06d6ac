"""How many workers share a GPU where the sweep leaves it open: as many as fit by what trials were seen to take.

Each GPU begins with one worker. Once a trial has shown what it takes, further workers are started while there is room
and work. A trial that runs out of memory is then no failure yet: its worker gives it back and ends, and half of the
workers stay. Only a trial that has run out of memory alone on its GPU fails for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from harness.work.worker_report import WorkerReport

MOST = 8
"""Workers of one GPU; more gained little where it was measured (docs/performance.md)."""
CONTEXT_BYTES = 640 << 20
"""Of a process on a GPU, beside its tensors: the driver's context and the libraries' own."""
SPARE = 0.1
"""Share of the memory that is left free: later trials may take more than those seen so far."""


def least(trials_per_device: int | Literal["auto"]) -> int:
    """Workers that share a device from the beginning."""
    return 1 if trials_per_device == "auto" else trials_per_device


def fitting(total: int, peak: int, most: int) -> int:
    """Workers that fit a device, from 1 to ``most``.

    Args:
        total: bytes of the device.
        peak: most bytes that a process's tensors took.
        most: never more.
    """
    return max(1, min(most, int((1 - SPARE) * total) // (peak + CONTEXT_BYTES)))


def most_workers(devices: int, cores: int) -> int:
    """Workers that a device may have: each needs a core to prepare its batches."""
    return max(1, min(MOST, cores // max(1, devices)))


@dataclass
class Packing:
    """What is known of the devices of one pool of workers.

    Attributes:
        most: workers of a device.
    """

    most: int
    _totals: dict[str, int] = field(default_factory=dict)
    _limits: dict[str, int] = field(default_factory=dict)
    _peak: int = 0

    def note(self, device: str, report: WorkerReport | None) -> None:
        """Take notice of what a worker says of itself."""
        if report is not None and report.memory is not None:
            peak, self._totals[device] = report.memory
            self._peak = max(self._peak, peak)

    def limit(self, device: str) -> int:
        """Workers that the device has proved able to have, or has not yet failed to."""
        return self._limits.get(device, self.most)

    def wanted(self, device: str) -> int:
        """Workers that the device should have by what is known; 1 while nothing is."""
        if device not in self._totals:
            return 1
        return min(self.limit(device), fitting(self._totals[device], self._peak, self.most))

    def crowded(self, device: str, workers: int) -> None:
        """Take notice that memory ran out while so many workers, from 1 on, shared the device."""
        self._limits[device] = min(self.limit(device), max(1, workers // 2))
