"""What handing out a trial costs here and in Ray Tune: ``python -m benchmarks.engines``.

Both sides run the same number of trials that do no work, over the same search space with TPE, one after the other in
this one run, and both with two workers. Here each worker is a process that claims, asks, records and commits trials in
their folders; Ray Tune is taken once as it comes (a process for each trial) and once with processes that are used
again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.overhead import commit, machine, planned
from harness.ray.cluster import RayCluster
from harness.search.mirror import distributions
from harness.space.parameters import searched
from harness.studies.study import Study
from harness.work.scheduler import Scheduler
from harness.work.worker import pause

MAX_SHARE = 0.2
"""A trial may cost at most so much of what it costs in Ray Tune as it comes."""
WORKERS = 2
WARM = 20
"""Trials that the workers run together before they are ready."""
TOO_LONG = 300.0
"""Seconds."""


def ours(folder: Path, trials: int, workers: int) -> float:
    """Seconds from when all workers are ready to the last result of so many trials."""
    context = multiprocessing.get_context("fork")
    studies, warm = planned(folder / "run", _document(trials)), planned(folder / "warm", _document(WARM))
    ready = context.Barrier(workers + 1)
    ended: SimpleQueue[float] = context.SimpleQueue()
    processes = [
        context.Process(target=_worker, args=(studies, warm, ready, ended), daemon=True) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait(TOO_LONG)
    began = time.monotonic()
    for process in processes:
        process.join(TOO_LONG)
    done = sum(trial.finished for trial in studies[0].folder.trials("search"))
    if done != trials or any(process.exitcode != 0 for process in processes):
        raise RuntimeError(f"{done} of {trials} trials were finished")
    return max(ended.get() for _ in processes) - began


def _worker(studies: list[Study], warm: list[Study], ready: Barrier, ended: SimpleQueue[float]) -> None:
    """Claim and commit search trials as ``harness.work.worker`` does, until none is left."""
    rng = random.Random(os.getpid())
    # What the first asks import is not a trial's; a real worker has it loaded before it starts.
    _search(Scheduler(warm, retries=5), rng)
    scheduler = Scheduler(studies, retries=5)
    ready.wait(TOO_LONG)
    _search(scheduler, rng)
    ended.put(time.monotonic())


def _search(scheduler: Scheduler, rng: random.Random) -> None:
    looks = 0
    while not scheduler.states[0].progress.searched():
        task = scheduler.claim_next()
        if task is None:
            time.sleep(pause(looks))
            looks += 1
        else:
            looks = 0
            commit(scheduler, task, rng)


def _document(trials: int) -> dict[str, Any]:
    return {
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": ["digits"],
        "methods": ["lora_c"],
        "train": {"epochs": 1, "image_size": 8},
        "search": {"sampler": "tpe", "trials": trials},
        "confirm": {"seeds": 1},
    }


def rays(folder: Path, trials: int, space: dict[str, Any], reuse: bool) -> float:
    """Seconds for all trials in Ray Tune."""
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class NoWork(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self._drawn = random.random()

        def step(self) -> dict[str, Any]:
            return {"score": self._drawn, "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._drawn = random.random()
            return True

    tuner = tune.Tuner(
        tune.with_resources(NoWork, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(space, metric="score", mode="max", sampler=optuna.samplers.TPESampler(seed=0)),
            num_samples=trials,
            max_concurrent_trials=WORKERS,
            reuse_actors=reuse,
        ),
        run_config=tune.RunConfig(
            name=f"reuse-{reuse}",
            storage_path=str(folder),
            # What does no work has nothing to save.
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )
    began = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - began
    if len(results) != trials or results.errors:
        raise RuntimeError(f"Ray Tune ran {len(results)} of {trials} trials, {len(results.errors)} with errors")
    return seconds


def with_ray(folder: Path, measure: Callable[[], dict[str, float]]) -> tuple[float, dict[str, float]]:
    """Seconds until a Ray cluster of one's own is up, and what was measured while it was."""
    before = dict(os.environ)
    cluster = RayCluster(folder, lambda name: folder / f"{name}.log", cpus=WORKERS, gpus=0)
    began = time.perf_counter()
    cluster.start()
    try:
        while (head := cluster.poll()) is None:
            time.sleep(0.1)
        os.environ |= cluster.environment(head)
        # Ray looks at the environment when it is imported, and would take another address for its own.
        from harness.ray.connection import connected

        assert head.address is not None
        with connected(head.address, cluster.nodes, threading.Event()):
            return time.perf_counter() - began, measure()
    finally:
        cluster.end()
        # What follows has the user's own home again.
        os.environ.clear()
        os.environ.update(before)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where the requirement is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description="What handing out a trial costs.")
    parser.add_argument("--trials", type=int, default=200, help="trials on each side (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "engines.json")
    options = parser.parse_args(argv)
    trials = options.trials
    where = machine(1)
    with tempfile.TemporaryDirectory(prefix="gpaf-engines-") as scratch:
        work = Path(scratch)
        space = distributions(searched(planned(work / "space", _document(trials))[0].space))

        def here() -> dict[int, float]:
            place = Path(tempfile.mkdtemp(dir=work))
            return {workers: ours(place / f"{workers}", trials, workers) for workers in (WORKERS, 1)}

        def there() -> dict[str, float]:
            return {
                "Ray Tune": rays(work / "tune", trials, space, reuse=False),
                "Ray Tune, processes used again": rays(work / "tune", trials, space, reuse=True),
            }

        (work / "ray").mkdir()
        before = here()
        start, theirs = with_ray(work / "ray", there)
        after = here()
    mine = {workers: max(before[workers], after[workers]) for workers in before}
    ms = {str(workers): 1000 * seconds / trials for workers, seconds in mine.items()}
    limits = {"Ray Tune": MAX_SHARE}
    rows: list[dict[str, Any]] = [
        {"engine": name, "ms": 1000 * s / trials, "ratio": mine[WORKERS] / s, "limit": limits.get(name)}
        for name, s in theirs.items()
    ]
    print(f"{trials} trials of no work; a trial here, the slower of two measurements:")
    print("\n".join(f"  {value:.1f} ms, workers: {workers}" for workers, value in ms.items()))
    for row in rows:
        limit = "no limit" if row["limit"] is None else f"at most {row['limit']}"
        print(
            f"{row['engine']}: {row['ms']:.1f} ms with {WORKERS} workers; here / there = {row['ratio']:.3f} ({limit})"
        )
    print(f"not counted: {start:.1f} s until Ray was up")
    where["load_average_after"] = os.getloadavg()
    command = ["python", "-m", "benchmarks.engines", *(sys.argv[1:] if argv is None else argv)]
    record = {"machine": where, "command": " ".join(command), "trials": trials, "workers": WORKERS, "ours_ms": ms}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**record, "ray_start_seconds": start, "rows": rows}, indent=2) + "\n")
    return 0 if all(row["limit"] is None or row["ratio"] <= row["limit"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
