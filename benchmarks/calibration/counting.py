"""Counts made by several processes, and kept in a file so that an interrupted run continues."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.calibration.model import Row, Setting

_ROOT = Path(__file__).parents[2]
_COUNTED = ("analysis/stats", "harness/metrics", "benchmarks/calibration")
"""The code that a count depends on."""


@dataclass(frozen=True, slots=True)
class Task:
    """One count: a setting at a number of replicates."""

    setting: Setting
    seeds: int
    base_seed: int

    @property
    def key(self) -> str:
        """Unlike that of any other count, and of this one by another program."""
        setting = self.setting
        return json.dumps([setting.name, setting.repetitions, self.seeds, self.base_seed, program()])


@functools.cache
def program() -> str:
    """Short hash of the code that counts depend on."""
    digest = hashlib.sha256()
    for folder in _COUNTED:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT)}\0{path.read_text(encoding='utf-8')}\0".encode())
    return digest.hexdigest()[:10]


def counted(tasks: Sequence[Task], processes: int, keep: Path | None = None) -> Iterator[Row]:
    """A row a task, in the order of the tasks, each as soon as it and those before it are there.

    Args:
        tasks: what to count.
        processes: that count at one time.
        keep: a file of finished counts, a line of JSON each; those of the same program are not counted again, and new
            ones are added. None to keep nothing.
    """
    kept = _kept(keep)
    missing = [task for task in tasks if task.key not in kept]
    # A fork would copy the threads' state of numerical libraries.
    with ProcessPoolExecutor(max(1, processes), mp_context=get_context("spawn")) as pool:
        running = {task.key: pool.submit(_count, task) for task in missing}
        try:
            for task in tasks:
                if task.key in running:
                    row = kept[task.key] = running[task.key].result()
                    if keep is not None:
                        with keep.open("a", encoding="utf-8") as file:
                            file.write(json.dumps([task.key, row]) + "\n")
                yield kept[task.key]
        finally:
            pool.shutdown(cancel_futures=True)


def _count(task: Task) -> Row:
    start = time.process_time()
    row = task.setting.count(task.seeds)
    return {**row, "processor_seconds": round(time.process_time() - start, 1)}


def _kept(path: Path | None) -> dict[str, Row]:
    if path is None or not path.exists():
        return {}
    # A run that was killed may have left part of a line.
    return dict(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n"))
