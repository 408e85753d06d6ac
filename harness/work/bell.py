"""What wakes the idle workers of one host when another one of it has claimed or ended a trial.

A file in the host's own temporary folder, whose time stamp changes: looking at it every few hundredths of a second
costs a file server nothing. Workers that have no such folder in common only learn of each other later.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

LISTEN_SECONDS = 0.05


class Bell:
    """The bell of the workers of one run on this host.

    Args:
        run: path of the run directory.
    """

    def __init__(self, run: Path) -> None:
        name = hashlib.sha256(os.fsencode(run)).hexdigest()[:24]
        self._path = Path(tempfile.gettempdir()) / f"gpaf-bench-{os.getuid()}-{name}.bell"
        self._heard = self._stamp()

    def ring(self) -> None:
        """Wake the others."""
        # Whoever cannot be woken looks by itself, only later.
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.utime(descriptor)
            finally:
                os.close(descriptor)
        self._heard = self._stamp()

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Wait so long, or until ``stop`` is set or somebody rings; not at all if somebody has since the last time."""
        while seconds > 0 and not self._rung():
            part = min(seconds, LISTEN_SECONDS)
            if stop.wait(part):
                return
            seconds -= part

    def remove(self) -> None:
        """Leave nothing behind; others that still wait are woken once."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _rung(self) -> bool:
        before, self._heard = self._heard, self._stamp()
        return before != self._heard

    def _stamp(self) -> int:
        try:
            return self._path.stat(follow_symlinks=False).st_mtime_ns
        except OSError:
            return 0
