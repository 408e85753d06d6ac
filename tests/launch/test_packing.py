"""Trials that share a GPU: as many as fit by what was measured, and fewer where memory runs out after all."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from home import Home

from harness.launch.packing import CONTEXT_BYTES, Packing, fitting, most_workers
from harness.launch.pool import WorkerPool
from harness.run.directory import RunDirectory
from harness.studies.study import Roots
from harness.work.worker import Worker
from harness.work.worker_report import EXIT_CROWDED, EXIT_STOPPED, write_report

GB = 1 << 30


@pytest.mark.parametrize(
    ("total", "peak", "most", "expected"),
    [
        (80 * GB, 3 * GB, 8, 8),
        (80 * GB, 20 * GB, 8, 3),
        (80 * GB, 70 * GB, 8, 1),
        (80 * GB, 200 * GB, 8, 1),
        (80 * GB, 3 * GB, 2, 2),
    ],
)
def test_as_many_as_fit(total: int, peak: int, most: int, expected: int) -> None:
    found = fitting(total, peak, most)
    assert found == expected
    assert found == 1 or found * (peak + CONTEXT_BYTES) <= 0.9 * total
    assert found == most or (found + 1) * (peak + CONTEXT_BYTES) > 0.9 * total


def test_each_worker_has_a_core() -> None:
    assert [most_workers(*given) for given in ((1, 16), (4, 16), (8, 4), (1, 3))] == [8, 4, 1, 3]


@dataclass
class Made:
    """A worker that a test ends when it likes."""

    pid: int
    arguments: list[str]
    code: int | None = None

    @property
    def device(self) -> str:
        return self.arguments[self.arguments.index("--device") + 1]

    def report(self, claimable: int, memory: tuple[int, int] | None) -> None:
        write_report(Path(self.arguments[self.arguments.index("--report") + 1]), "trial", claimable, memory)

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.code = EXIT_STOPPED

    kill = terminate

    def wait(self, timeout: float | None = None) -> int:
        assert self.code is not None
        return self.code


class Starter:
    """Starts such workers."""

    def __init__(self) -> None:
        self.all: list[Made] = []

    def prepare(self) -> None:
        pass

    def wait_until_ready(self) -> None:
        pass

    def close(self) -> None:
        pass

    def start(self, arguments: list[str], log: Path) -> Made:
        self.all.append(Made(len(self.all), arguments))
        return self.all[-1]

    def on(self, device: str) -> list[Made]:
        return [worker for worker in self.all if worker.code is None and worker.device == device]


def test_a_pool_fills_its_devices_and_makes_room_again(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.create()
    starter, reports = Starter(), tmp_path / "reports"
    reports.mkdir()
    pool = WorkerPool(
        run, Roots(tmp_path, tmp_path), 2, 1, ["cuda:0", "cuda:1"], "w", reports, (), [starter], Packing(4)
    )
    pool.start()
    assert pool.poll()
    assert [len(starter.on(device)) for device in pool.devices] == [1, 1], "nothing is known yet"
    # A trial took 20 GB of 80: three fit. Where nothing is left to claim, nobody is started for it.
    starter.on("cuda:0")[0].report(0, (20 * GB, 80 * GB))
    pool.poll()
    assert len(starter.on("cuda:0")) == 1
    starter.on("cuda:0")[0].report(9, (20 * GB, 80 * GB))
    for _ in range(5):
        pool.poll()
    assert [len(starter.on(device)) for device in pool.devices] == [3, 1]
    assert all("--packed" in worker.arguments for worker in starter.all)
    # Whoever ends is replaced.
    starter.on("cuda:0")[1].code = -9
    pool.poll()
    assert len(starter.on("cuda:0")) == 3
    # Memory runs out: half of them stay, and on the other device nothing changes.
    starter.on("cuda:0")[2].code = EXIT_CROWDED
    for _ in range(5):
        pool.poll()
    assert [len(starter.on(device)) for device in pool.devices] == [1, 1]
    # Alone it runs out again: the next worker is told that a lack of memory is the trial's own.
    starter.on("cuda:0")[0].code = EXIT_CROWDED
    pool.poll()
    (last,) = starter.on("cuda:0")
    assert "--packed" not in last.arguments
    assert pool.running == 2
    pool.stop(lambda line: None)


GREEDY = '''"""Wants more memory than there is."""
from pathlib import Path

import torch

from harness.method import Method, optimiser_space
from harness.space.parameters import Float


class Greedy(Method):
    """Runs out of memory while a file is there."""

    name = "greedy"
    space = optimiser_space(Float(1e-3, 1e-4, 1e-1, log=True))

    def adapt(self, model, hp):
        pass

    def training_step(self, context, images, labels):
        if Path({mark!r}).exists():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return super().training_step(context, images, labels)
'''


def test_memory_that_runs_out_beside_others_is_no_failure(tmp_path: Path, home: Home) -> None:
    mark, run = tmp_path / "full", RunDirectory(tmp_path / "run")
    home.plugin.write_text(GREEDY.format(mark=str(mark)))
    home.file.write_text(home.file.read_text().replace("my_probe", "greedy"))
    home.sweep(run=run.path, report=False)
    (trial,) = run.study("greedy@zero_one").trials("search")
    whole = trial.result()
    trial.result_path.unlink()

    def worker(packed: bool) -> Worker:
        roots = Roots(home.cache, home.cache)
        return Worker(run, roots, torch.device("cpu"), 1, threading.Event(), packed=packed)

    mark.touch()
    assert worker(packed=True).work() == EXIT_CROWDED
    assert not trial.finished and trial.attempts()[-1]["released"] == "out of memory beside others"
    assert "given back, because the device is shared" in trial.log_path.read_text()
    mark.unlink()
    assert worker(packed=True).turn() and trial.result()["metrics"] == whole["metrics"]
    trial.result_path.unlink()
    mark.touch()
    assert worker(packed=False).turn()
    assert (trial.result()["status"], trial.result()["cause"]) == ("failed", "oom")
