"""Sixteen processes open an undecoded dataset at once, as the workers of a cluster job do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import ROOT

from harness.core.lease import view

PROCESSES = 16
IMAGES = 200

# Forked from one process that has imported everything, or the test would measure imports. Each image notes who loads
# it, and the one in the middle is held up while the file `hold` is there.
OPENERS = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from harness.data.cache import prepare
from harness.dataset import Dataset, Record

base, processes, images = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

class Noise:
    def __init__(self, number):
        self.number = number

    def load(self):
        while self.number == images // 2 and (base / "hold").exists():
            time.sleep(0.02)
        with (base / "loads").open("a") as log:
            log.write(f"{os.getpid()} {self.number}\\n")
        return np.random.default_rng(self.number).integers(0, 256, (8, 8, 3), dtype=np.uint8)

class Slow(Dataset):
    name, title, modality, licence, citation = "slow", "Slow", "noise", "CC0", "none"
    classes, files = ("a", "b"), ()

    def records(self, root):
        return [Record(f"case{i}", i % 2, Noise(i)) for i in range(images)]

started, start = os.pipe()
children = []
for _ in range(processes):
    child = os.fork()
    if child == 0:
        os.close(start)
        os.read(started, 1)
        data = prepare(Slow(), "code", 4, base, base / "cache")
        (base / f"{os.getpid()}.json").write_text(json.dumps([data.fingerprint, data.images[:].sum().item()]))
        os._exit(0)
    children.append(child)
# The end of the pipe lets all of them go in the same moment.
os.close(start)
print(json.dumps({child: os.waitpid(child, 0)[1] for child in children}))
"""


@dataclass(frozen=True)
class Outcome:
    """What sixteen processes did."""

    statuses: dict[str, int]
    opened: set[str]
    """The distinct fingerprints and sums of pixels that they found."""
    loads: dict[str, Counter[str]]
    """How often each process loaded each image."""


def start(base: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OPENERS, str(base), str(PROCESSES), str(IMAGES)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], base: Path) -> Outcome:
    output, _ = process.communicate(timeout=120)
    loads: dict[str, Counter[str]] = {}
    for line in (base / "loads").read_text().splitlines():
        pid, image = line.split()
        loads.setdefault(pid, Counter())[image] += 1
    return Outcome(json.loads(output), {path.read_text() for path in base.glob("*.json")}, loads)


def lock_of(base: Path) -> Path:
    (lock,) = base.glob("cache/.*.lock")
    return lock


EACH_ONCE = Counter(str(number) for number in range(IMAGES))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    base = tmp_path_factory.mktemp("undisturbed")
    outcome = finish(start(base), base)
    assert sorted(path.name for path in lock_of(base).iterdir()) == ["lease.0001"]
    return outcome


def test_one_decodes_and_all_find_the_same(undisturbed: Outcome) -> None:
    assert set(undisturbed.statuses.values()) == {0}
    assert list(undisturbed.loads.values()) == [EACH_ONCE]
    assert len(undisturbed.opened) == 1


def test_a_builder_killed_half_way_is_succeeded_and_nothing_is_lost(undisturbed: Outcome, tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    process = start(tmp_path)
    loads = tmp_path / "loads"
    deadline = time.monotonic() + 60
    while not loads.exists() or len(loads.read_text().splitlines()) < IMAGES // 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lease = view(lock_of(tmp_path))
    assert lease is not None
    assert list(tmp_path.glob("cache/.*/build.0001.*/images.npy"))
    os.kill(lease.content["pid"], signal.SIGKILL)
    (tmp_path / "hold").unlink()
    outcome = finish(process, tmp_path)

    killed = str(lease.content["pid"])
    assert {pid: status for pid, status in outcome.statuses.items() if status} == {killed: signal.SIGKILL}
    assert len(list(tmp_path.glob("*.json"))) == PROCESSES - 1
    assert outcome.opened == undisturbed.opened
    successors = {pid: counted for pid, counted in outcome.loads.items() if pid != killed}
    assert list(successors.values()) == [EACH_ONCE]
    assert 0 < outcome.loads[killed].total() < IMAGES
    assert sorted(path.name for path in lock_of(tmp_path).iterdir()) == ["lease.0001", "lease.0002"]
