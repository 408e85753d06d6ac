"""Processes named for good: by id and start time, so that an id that was given to another process does no harm."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import RequestError

POLL_SECONDS = 0.02


@dataclass(frozen=True, order=True)
class ProcessId:
    """A process on this machine.

    Attributes:
        pid: its id.
        started: its start, in clock ticks since the machine's.
    """

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs. A zombie has ended: not every machine's first process reaps."""
        return find(self.pid) == self

    def kill(self) -> None:
        """Send SIGKILL; nothing happens when it has ended."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # Asked after the descriptor was opened: from here on it cannot come to mean another process.
            if self.alive:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)


def find(pid: int) -> ProcessId | None:
    """The process that has an id now; None when there is none, or a zombie."""
    try:
        # The name, in brackets, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else ProcessId(pid, int(fields[19]))


def running(belongs: Callable[[int], bool]) -> list[ProcessId]:
    """All processes that pass a test.

    Args:
        belongs: given a process id, whether to include it.
    """
    found = []
    for entry in Path("/proc").iterdir():
        # First the start time, then the test: if the id changes hands in between, nothing is done to the new owner.
        process = find(int(entry.name)) if entry.name.isdigit() else None
        if process is not None and belongs(process.pid):
            found.append(process)
    return found


def end_all(look: Callable[[], list[ProcessId]], seconds: float = 15.0) -> int:
    """Kill the processes found until none is found; how many there were.

    Args:
        look: finds them anew: one may have started another meanwhile.
        seconds: how long to try.

    Raises:
        RequestError: some outlive SIGKILL, as in a system call that hangs.
    """
    ended: set[ProcessId] = set()
    end = time.monotonic() + seconds
    while found := look():
        for process in found:
            process.kill()
        ended.update(found)
        if time.monotonic() > end:
            pids = ", ".join(str(process.pid) for process in found)
            raise RequestError(f"processes {pids} outlive SIGKILL; /proc/PID/stack tells what they wait for")
        time.sleep(POLL_SECONDS)
    return len(ended)


def wait_until(test: Callable[[], bool], seconds: float, every: float = POLL_SECONDS) -> bool:
    """Ask again and again until the answer is yes; whether it came in time.

    Args:
        test: what to ask.
        seconds: how long.
        every: seconds between two questions.
    """
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
