"""Lets single file operations, forks and threads of other processes fail, and steps the clock that they see.

``faults.c``, which a C compiler turns into a library that the system loads into every process of the disturbed sweep,
stands between the program and the C library. It does what this module writes into a file that all of them map, and
answers there. Without a compiler, or elsewhere than on Linux, there is no such layer (``obstacle``).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import RequestError

SOURCE = Path(__file__).with_name("faults.c")
SLOTS = 16
CALLS = (
    "open", "read", "write", "fsync", "close", "rename", "link", "unlink", "stat", "mkdir", "scandir", "utime",
    "truncate", "mmap", "fork", "thread",
)  # fmt: skip
"""Kinds of call that can fail, by their numbers in ``faults.c``."""


class _Slot(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("armed", "pid", "calls", "error", "afterwards", "skip", "fired")),
        *((name, ctypes.c_int) for name in ("fired_pid", "fired_call", "unused")),
        ("fired_at", ctypes.c_int64),
        ("prefix", ctypes.c_char * 1024),
        ("path", ctypes.c_char * 1024),
    )


class _Step(ctypes.Structure):
    _fields_ = (("pid", ctypes.c_int), ("on", ctypes.c_int), ("nanoseconds", ctypes.c_int64))


class _Control(ctypes.Structure):
    _fields_ = (
        ("any_slot", ctypes.c_int),
        ("any_step", ctypes.c_int),
        ("slots", _Slot * SLOTS),
        ("steps", _Step * SLOTS),
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """Calls that are to fail.

    Attributes:
        calls: kinds, of ``CALLS``.
        error: errno that they fail with; 0 lets a ``write`` write half.
        below: a folder or file; calls on other paths pass. Forks and threads have none.
        pid: of the process; 0 for every one.
        skip: how many calls pass before.
        count: how many fail.
        afterwards: whether a call is carried out and its success is lost on the way, as over a network.
    """

    calls: Collection[str]
    error: int
    below: Path | None = None
    pid: int = 0
    skip: int = 0
    count: int = 1
    afterwards: bool = False


@dataclass(frozen=True, slots=True)
class Fired:
    """The last call that failed."""

    times: int
    pid: int
    call: str
    path: str
    at: float
    """Seconds since the epoch, by the true clock."""


class Armed:
    """A fault that waits for its calls; ``disarm`` ends it."""

    def __init__(self, layer: FaultLayer, number: int) -> None:
        self._layer, self._number = layer, number

    def fired(self) -> Fired | None:
        """What has failed so far; None where nothing has."""
        slot = self._layer.control.slots[self._number]
        if not slot.fired:
            return None
        path = slot.path.decode(errors="surrogateescape")
        return Fired(slot.fired, slot.fired_pid, CALLS[slot.fired_call], path, slot.fired_at / 1e9)

    def disarm(self) -> None:
        """Let all calls pass from now on."""
        self._layer.free(self._number)


class FaultLayer:
    """The library, and the file by which it is controlled.

    Args:
        folder: an empty one, where both are kept.

    Raises:
        RequestError: the library cannot be built (``obstacle`` tells before).
    """

    def __init__(self, folder: Path) -> None:
        compiler = _compiler()
        if compiler is None:
            raise RequestError("no C compiler (gcc or cc) is on the PATH, which a layer of faults needs")
        self._library, self._file, self.events = folder / "faults.so", folder / "control", folder / "faults.log"
        words = ["-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE), "-ldl"]
        built = subprocess.run([compiler, *words], capture_output=True, text=True)
        if built.returncode != 0:
            raise RequestError(f"{SOURCE}: {compiler} refuses it: {built.stderr.strip()[-300:]}")
        self._file.write_bytes(bytes(ctypes.sizeof(_Control)))
        with self._file.open("r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), 0)
        self.control = _Control.from_buffer(self._map)

    def environment(self) -> dict[str, str]:
        """Variables of the processes to be disturbed."""
        preloaded = ":".join(filter(None, [str(self._library), os.environ.get("LD_PRELOAD")]))
        own = {"GPAF_CHAOS_CONTROL": str(self._file), "GPAF_CHAOS_EVENTS": str(self.events)}
        return {"LD_PRELOAD": preloaded, **own}

    def arm(self, fault: Fault) -> Armed | None:
        """Let calls fail; None where as many faults as there is room for are armed."""
        taken = (number for number, slot in enumerate(self.control.slots) if not slot.calls)
        number = next(taken, None)
        if number is None:
            return None
        slot = self.control.slots[number]
        slot.fired = 0
        slot.pid, slot.error, slot.afterwards, slot.skip = fault.pid, fault.error, int(fault.afterwards), fault.skip
        slot.prefix = b"" if fault.below is None else os.fsencode(fault.below)
        slot.calls = sum(1 << CALLS.index(call) for call in fault.calls)
        # Last: from here on calls fail.
        slot.armed = fault.count
        self.control.any_slot = 1
        return Armed(self, number)

    def free(self, number: int) -> None:
        """Disarm a slot."""
        slot = self.control.slots[number]
        slot.armed = 0
        slot.calls = 0
        self.control.any_slot = int(any(one.calls for one in self.control.slots))

    def step_clock(self, pid: int, seconds: float) -> int | None:
        """Let the clock of one process, or of all (0), differ from the true one; a number for ``clock_back``."""
        number = next((number for number, one in enumerate(self.control.steps) if not one.on), None)
        if number is not None:
            step = self.control.steps[number]
            step.pid, step.nanoseconds = pid, int(seconds * 1e9)
            step.on = 1
            self.control.any_step = 1
        return number

    def clock_back(self, number: int) -> None:
        """End what ``step_clock`` began."""
        self.control.steps[number].on = 0
        self.control.any_step = int(any(one.on for one in self.control.steps))

    def calm(self) -> None:
        """Let everything pass, and show the true clock."""
        for number in range(SLOTS):
            self.free(number)
            self.clock_back(number)


def obstacle() -> str | None:
    """Why there can be no layer of faults here; None where there can."""
    if sys.platform != "linux":
        return "calls can be made to fail on Linux only"
    return None if _compiler() is not None else "no C compiler (gcc or cc) is on the PATH"


def _compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")
