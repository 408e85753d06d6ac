"""The folders themselves: not writable, or with files that a killed process left half written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.core.clock import server_now
from harness.doctor.finding import Finding

LEFT_SECONDS = 600.0
"""A temporary file this old has no writer any more."""


def unwritable(folder: Path) -> Finding | None:
    """The finding that nothing can be written into a folder; None where something can."""
    mode = folder.stat()
    if mode.st_mode & stat.S_IRWXU == stat.S_IRWXU and os.access(folder, os.W_OK | os.X_OK):
        return None
    what = "is read-only: no worker can write its trial there"
    if mode.st_uid == os.geteuid() and mode.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        remedy = "--fix lets its owner write again"
        return Finding("read-only", folder, what, remedy, act=lambda: folder.chmod(mode.st_mode | stat.S_IRWXU))
    return Finding("read-only", folder, what, "mount or own it so that it can be written", by="user")


def leftovers(folders: Iterable[Path], root: Path) -> Iterator[Finding]:
    """Temporary files of processes that were killed while they wrote.

    Args:
        folders: which to look into, each by itself.
        root: a folder that can be written, whose clock is asked.
    """
    now = server_now(root)
    for folder in folders:
        for entry in os.scandir(folder):
            if not entry.name.startswith(".") or not (entry.name.endswith(".tmp") or entry.name.startswith(".clock.")):
                continue
            try:
                age = now - entry.stat().st_mtime
            except FileNotFoundError:
                continue
            if age > LEFT_SECONDS:
                path = Path(entry.path)
                what = "half written by a process that was killed; nothing reads it"
                yield Finding("leftover", path, what, "--fix sets it aside", aside=(path,))
