"""Why a worker process died: by its exit code, and by what the kernel counts in its control group."""

from __future__ import annotations

import signal
from pathlib import Path

OUT_OF_MEMORY = "oom"
"""The kernel ended the process because the job's memory was used up."""


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
    """The files that count for this process's group and those above it that can be seen."""
    own, mounts = Path("/proc/self/cgroup"), Path("/proc/self/mountinfo")
    if not (own.exists() and mounts.exists()):
        return []
    paths = {}
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            paths[controllers == ""] = path
    found = []
    for line in mounts.read_text().splitlines():
        left, _, right = line.partition(" - ")
        root, place = left.split()[3:5]
        kind, _, options = right.split(maxsplit=2)
        unified = kind == "cgroup2"
        if not unified and not (kind == "cgroup" and "memory" in options.split(",")):
            continue
        # A container, or a cluster in one, may have only a part of the hierarchy mounted.
        group = Path(paths.get(unified, "/"))
        inside = group.relative_to(root) if group.is_relative_to(root) else Path()
        name = "memory.events" if unified else "memory.oom_control"
        found += [Path(place) / level / name for level in (inside, *inside.parents)]
    return sorted({path for path in found if path.exists()})
