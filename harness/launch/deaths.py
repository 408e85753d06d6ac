"""Why a worker process died: by its exit code, and by what the kernel counts in its control group."""

from __future__ import annotations

import signal
from pathlib import Path

OUT_OF_MEMORY = "oom"
"""The kernel ended the process because the job's memory was used up."""

CGROUPS = Path("/sys/fs/cgroup")


class OutOfMemoryCounter:
    """Counts the processes of this control group that the kernel has killed for memory."""

    def __init__(self) -> None:
        self._files = _counting_files()
        self._seen = self._count()

    def rose(self) -> bool:
        """Whether the kernel has killed one since the last question."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        total = 0
        for path in self._files:
            for line in path.read_text().splitlines() if path.exists() else ():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    total += int(value)
        return total


def describe_death(code: int, memory_ran_out: bool) -> str:
    """Cause of a death from an exit code (negative: a signal): ``oom``, ``SIGSEGV``, ``exit code 3``."""
    if code == -signal.SIGKILL and memory_ran_out:
        return OUT_OF_MEMORY
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _counting_files() -> list[Path]:
    """The files that count for this process's group and those above it, up to the one that sets a limit."""
    own = Path("/proc/self/cgroup")
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            name, root = "memory.events", CGROUPS
        elif "memory" in controllers.split(","):
            name, root = "memory.oom_control", CGROUPS / "memory"
        else:
            continue
        place = root / path.lstrip("/")
        levels = [place, *place.parents][: max(0, len(place.parts) - len(root.parts))]
        found = [level / name for level in levels if (level / name).exists()]
        if found:
            return found
    return []
