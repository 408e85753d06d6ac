"""The layer that lets single calls of another process fail: each kind does, once, where and as it was told."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import environment

from harness.proof.chaos.fault_layer import CALLS, Fault, FaultLayer, obstacle

OBSTACLE = obstacle()
pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=f"no layer of faults here: {OBSTACLE}")

# Does each kind of call when it is told to, and says what became of it.
PROGRAM = """
import mmap, os, subprocess, sys, threading, time
from pathlib import Path

import psutil

run = Path(sys.argv[1])
file = run / "a"
file.write_bytes(b"12345678")
descriptor = os.open(file, os.O_RDWR)


def thread():
    started = threading.Thread(target=int)
    started.start()
    started.join()


calls = {
    "open": lambda: os.close(os.open(file, os.O_RDONLY)),
    "read": lambda: os.read(descriptor, 1),
    "write": lambda: os.write(descriptor, b"12345678"),
    "fsync": lambda: os.fsync(descriptor),
    "close": lambda: os.close(os.dup(descriptor)),
    "rename": lambda: os.rename(file, file),
    "link": lambda: os.link(file, run / "b"),
    "unlink": lambda: os.unlink(run / "b"),
    "stat": lambda: os.stat(file).st_size,
    "mkdir": lambda: os.mkdir(run / "c"),
    "scandir": lambda: len(list(os.scandir(run))),
    "utime": lambda: os.utime(file),
    "truncate": lambda: os.ftruncate(descriptor, 8),
    "mmap": lambda: len(mmap.mmap(descriptor, 8)),
    "fork": lambda: subprocess.run(["true"]).returncode,
    "thread": thread,
    "late": lambda: time.time() - os.stat(file).st_mtime,
    "boot": psutil.boot_time,
}
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(calls[line.strip()](), flush=True)
    except OSError as error:
        print(error.errno, flush=True)
    except RuntimeError as error:
        print(error, flush=True)
"""


class Victim:
    """A process whose calls fail."""

    def __init__(self, layer: FaultLayer, run: Path) -> None:
        command = [sys.executable, "-c", PROGRAM, str(run)]
        variables = {**environment(run), **layer.environment()}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=variables, text=True)
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def does(self, call: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(call, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def layer(tmp_path: Path) -> FaultLayer:
    (tmp_path / "layer").mkdir()
    return FaultLayer(tmp_path / "layer")


@pytest.fixture
def victim(layer: FaultLayer, run: Path) -> Iterator[Victim]:
    victim = Victim(layer, run)
    yield victim
    with victim.process:
        victim.process.kill()


def test_each_kind_of_call_fails_once_and_says_where(layer: FaultLayer, victim: Victim, run: Path) -> None:
    pid = victim.process.pid
    for call in CALLS:
        # A fork that fails is tried once more in another way.
        count = 2 if call == "fork" else 1
        armed = layer.arm(Fault([call], errno.EAGAIN, None if call in ("fork", "thread") else run, pid, count=count))
        assert armed is not None and armed.fired() is None
        assert victim.does(call) == ("can't start new thread" if call == "thread" else str(errno.EAGAIN)), call
        fired = armed.fired()
        assert fired is not None and (fired.times, fired.pid, fired.call) == (count, pid, call)
        assert fired.path.startswith(str(run)) == (call not in ("fork", "thread"))
        assert victim.does(call) != str(errno.EAGAIN), f"{call} failed twice"
        armed.disarm()
    log = layer.events.read_text()
    assert all(f": {call} of" in log for call in CALLS) and "EAGAIN" in log and 'File "<string>"' in log


def test_what_is_not_meant_passes(layer: FaultLayer, victim: Victim, run: Path, tmp_path: Path) -> None:
    pid = victim.process.pid
    for fault in (
        Fault(["stat"], errno.EIO, run, pid + 1),
        Fault(["stat"], errno.EIO, tmp_path / "ru", pid),
        Fault(["open"], errno.EIO, run, pid),
    ):
        armed = layer.arm(fault)
        assert armed is not None and victim.does("stat") == "8" and armed.fired() is None
        armed.disarm()
    third = layer.arm(Fault(["stat"], errno.EIO, run / "a", skip=2))
    assert third is not None and [victim.does("stat") for _ in range(4)] == ["8", "8", "5", "8"]


def test_a_call_may_be_carried_out_and_its_answer_lost(layer: FaultLayer, victim: Victim, run: Path) -> None:
    layer.arm(Fault(["mkdir", "link"], errno.EIO, run, count=2, afterwards=True))
    assert [victim.does("mkdir"), victim.does("link")] == ["5", "5"]
    assert (run / "c").is_dir() and (run / "b").exists()


def test_a_write_may_be_short(layer: FaultLayer, victim: Victim, run: Path) -> None:
    layer.arm(Fault(["write"], 0, run))
    assert victim.does("write") == "4" and victim.does("write") == "8"


def test_the_clock_of_one_process_or_of_all_is_stepped(layer: FaultLayer, victim: Victim) -> None:
    boot = float(victim.does("boot"))
    for pid, seconds, shift in ((victim.process.pid, 500.0, 500.0), (0, -90.0, -90.0), (os.getpid(), 500.0, 0.0)):
        number = layer.step_clock(pid, seconds)
        assert number is not None
        victim.does("utime")  # a file server's clock is its own
        assert float(victim.does("late")) == pytest.approx(shift, abs=5)
        # As the kernel says it, from which processes' starts are reckoned.
        assert float(victim.does("boot")) == pytest.approx(boot + shift, abs=2)
        layer.clock_back(number)
    victim.does("utime")
    assert float(victim.does("late")) == pytest.approx(0, abs=5)
