"""Folders that the nodes probably do not see; only a node can tell for certain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psutil

_LOCAL = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108  (named, not written to)
_IN_MEMORY = ("tmpfs", "ramfs")


def doubts(folders: Mapping[str, Path], scratch: str | None) -> list[str]:
    """One line for each folder that is probably this machine's own.

    Args:
        folders: folders that every node needs, by what to call them; they need not exist.
        scratch: a node's own folder, which may hold $VARIABLES; None for none.
    """
    local = [Path(place) for place in _LOCAL]
    local += [Path(os.path.expandvars(place)) for place in ("$TMPDIR", scratch or "") if place]
    # Where a variable exists on nodes only, its name is left, and no folder is below it.
    local = [Path(os.path.realpath(place)) for place in local if place.is_absolute()]
    notes = []
    for name, folder in folders.items():
        place = Path(os.path.realpath(folder))
        below = next((above for above in local if place.is_relative_to(above)), None)
        if below is not None:
            why = f"it is below {below}, which most machines have for themselves"
        elif (kind := _file_system(place)) in _IN_MEMORY:
            why = f"it lies in this machine's memory ({kind})"
        else:
            continue
        notes.append(f"{name} {folder}: the nodes may not see it; {why}. Jobs need a folder that all nodes share")
    return notes


def _file_system(place: Path) -> str:
    """The type of the file system that a path is on, or would be."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if place.is_relative_to(mount.mountpoint)]
    # Of two mounts at the same place the later one hides the other.
    return max(enumerate(mounts), key=lambda entry: (len(entry[1].mountpoint), entry[0]))[1].fstype if mounts else ""
