"""What handing out a trial costs here and in Ray Tune: ``python -m benchmarks.engines``.

Both sides run the same number of trials that do no work, over the same search space with TPE, one after the other in
this one run. Here a single worker claims, asks, records and commits each trial in its folder; Ray Tune has two
workers, once as it comes (a process for each trial) and once with processes that are used again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.overhead import coordinate, machine, planned
from harness.ray.cluster import RayCluster
from harness.scheduler import Scheduler
from harness.search.mirror import distributions
from harness.space import searched

MAX_SHARE = 0.2
"""A trial may cost at most so much of what it costs in Ray Tune."""
WORKERS = 2


def ours(folder: Path, trials: int) -> tuple[float, dict[str, Any]]:
    """Seconds for all trials, and the distributions that they were drawn from."""
    document = {
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": ["digits"],
        "methods": ["lora_c"],
        "train": {"epochs": 1, "image_size": 8},
        "search": {"sampler": "tpe", "trials": trials},
        "confirm": {"seeds": 1},
    }
    studies = planned(folder, document)
    scheduler, rng = Scheduler(studies, retries=5), random.Random(0)
    began = time.perf_counter()
    for _ in range(trials):
        coordinate(scheduler, rng)
    return time.perf_counter() - began, distributions(searched(studies[0].space))


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
        mine, space = ours(work / "run", trials)

        def measure() -> dict[str, float]:
            return {
                "Ray Tune": rays(work / "tune", trials, space, reuse=False),
                "Ray Tune, processes used again": rays(work / "tune", trials, space, reuse=True),
            }

        (work / "ray").mkdir()
        start, theirs = with_ray(work / "ray", measure)
        again, _ = ours(work / "again", trials)
    mine = max(mine, again)
    rows = [{"engine": name, "ms": 1000 * s / trials, "ratio": mine / s} for name, s in theirs.items()]
    print(f"{trials} trials of no work; a trial here: {1000 * mine / trials:.1f} ms (the slower of two measurements)")
    for row in rows:
        print(f"{row['engine']}: {row['ms']:.0f} ms a trial; here / there = {row['ratio']:.3f} (at most {MAX_SHARE})")
    print(f"not counted: {start:.1f} s until Ray was up")
    where["load_average_after"] = os.getloadavg()
    command = ["python", "-m", "benchmarks.engines", *(sys.argv[1:] if argv is None else argv)]
    record = {"machine": where, "command": " ".join(command), "trials": trials, "ours_ms": 1000 * mine / trials}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**record, "ray_start_seconds": start, "rows": rows}, indent=2) + "\n")
    return 0 if all(row["ratio"] <= MAX_SHARE for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
