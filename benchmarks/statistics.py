"""Aggregates with stratified-bootstrap intervals, side by side with rliable: ``python -m benchmarks.statistics``.

The scores of 10 methods on 12 datasets with 20 seeds, 10,000 resamples, the mean and the interquartile mean of each
method with a 95 % interval: what ``rly.get_interval_estimates`` gives, and ``analysis.stats.stratified``. Both run one
after the other, each with one thread, in one call of this program; their intervals are compared as well.

rliable needs older pandas and arch than this project, so it is installed into an environment of its own below a
temporary folder. Where that cannot be done nothing is measured, and the program says why.

The requirement: at least 100 times faster.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

METHODS, DATASETS, SEEDS, RESAMPLES = 10, 12, 20, 10_000
REQUIREMENTS = ("rliable==1.2.0", "pandas<3", "arch<8")
WANTED = 100.0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def made_up_scores() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Shape (methods, seeds, datasets): levels of methods and datasets, their interaction, and seeds."""
    rng = np.random.default_rng(0)
    level = 0.8 + rng.normal(0, 0.02, (METHODS, 1, 1)) + rng.normal(0, 0.05, (1, 1, DATASETS))
    scores: np.ndarray[Any, np.dtype[np.float64]] = (
        level + rng.normal(0, 0.01, (METHODS, 1, DATASETS)) + rng.normal(0, 0.015, (METHODS, SEEDS, DATASETS))
    )
    return scores


def measured(action: Callable[[], Any], times: int) -> tuple[dict[str, float], Any]:
    """Median seconds of so many calls, by the clock and of this processor, and the last result."""
    clock, processor, result = [], [], None
    for _ in range(times):
        started, worked = time.perf_counter(), time.process_time()
        result = action()
        processor.append(time.process_time() - worked)
        clock.append(time.perf_counter() - started)
    return {"seconds": float(np.median(clock)), "cpu_seconds": float(np.median(processor))}, result


def ours(scores: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    """This project's time and intervals."""
    from analysis.stats.stratified import stratified_intervals

    spent, found = measured(lambda: stratified_intervals(scores, resamples=RESAMPLES), 7)
    ends = [[found[name].low.tolist(), found[name].high.tolist()] for name in ("mean", "interquartile_mean")]
    return {**spent, "ends": ends}


def rliable(path: Path) -> dict[str, Any]:
    """rliable's, in an environment that has it; ``path`` is a file of scores."""
    from rliable import library, metrics  # type: ignore[import-not-found]

    by_method = {f"method_{place}": own for place, own in enumerate(np.load(path))}

    def aggregates(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.array([metrics.aggregate_mean(scores), metrics.aggregate_iqm(scores)])

    spent, (_, intervals) = measured(
        lambda: library.get_interval_estimates(by_method, aggregates, reps=RESAMPLES), 3
    )  # fmt: skip
    found = np.array([intervals[name] for name in by_method])  # methods, ends, aggregates
    return {**spent, "ends": found.transpose(2, 1, 0).tolist()}


def environment_with_rliable(folder: Path) -> Path:
    """A Python that has rliable.

    Raises:
        subprocess.CalledProcessError: it cannot be installed; ``stderr`` says why.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return python


def beside(python: Path, scores: np.ndarray[Any, np.dtype[np.float64]], folder: Path) -> dict[str, Any]:
    """Both, one after the other, each in a process of its own with one thread."""
    path = folder / "scores.npy"
    np.save(path, scores)
    # This file has the name of a module of the standard library, which its folder on the path would hide.
    calls = {
        "ours": [sys.executable, "-m", "benchmarks.statistics", "--ours", str(path)],
        "rliable": [str(python), "-P", str(Path(__file__).resolve()), "--rliable", str(path)],
    }
    result = {}
    for name, call in calls.items():
        done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD})
        result[name] = json.loads(done.stdout.splitlines()[-1])
    return result


def farthest(ours_ends: Any, their_ends: Any) -> float:
    """Largest distance between two ends of the same interval, as a share of its length."""
    first, second = np.array(ours_ends), np.array(their_ends)
    length = second[:, 1] - second[:, 0]
    return float((np.abs(first - second) / length[:, None]).max())


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where the requirement is not met, 0 also where rliable cannot be installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description="Speed beside rliable's.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "statistics.json")
    parser.add_argument("--ours", type=Path, metavar="SCORES", help="measure this project alone, print JSON")
    parser.add_argument("--rliable", type=Path, metavar="SCORES", help="measure rliable alone, print JSON")
    options = parser.parse_args(argv)
    if options.ours is not None or options.rliable is not None:
        print(json.dumps(rliable(options.rliable) if options.rliable else ours(np.load(options.ours))))
        return 0
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="gpaf-statistics-") as scratch:
        try:
            python = environment_with_rliable(Path(scratch) / "environment")
        except subprocess.CalledProcessError as error:
            reason = (error.stderr or "").strip().splitlines()
            print(f"rliable cannot be installed, nothing is compared: {reason[-1] if reason else error}")
            return 0
        found = beside(python, made_up_scores(), Path(scratch))
    from benchmarks.overhead import machine

    apart = farthest(found["ours"].pop("ends"), found["rliable"].pop("ends"))
    ratio, of_processor = (found["rliable"][what] / found["ours"][what] for what in ("seconds", "cpu_seconds"))
    record: Mapping[str, Any] = {
        "machine": {**machine(1), "load_average_before": load, "load_average_after": os.getloadavg()},
        "command": "python -m benchmarks.statistics",
        "design": {"methods": METHODS, "datasets": DATASETS, "seeds": SEEDS, "resamples": RESAMPLES},
        "requirements": REQUIREMENTS,
        **found,
        "times_faster": ratio,
        "times_faster_cpu": of_processor,
        "farthest_ends": apart,
        # By the clock alone, other work on the machine during one of the two would count as a difference.
        "met": min(ratio, of_processor) >= WANTED,
    }
    print(json.dumps(record, indent=2))
    print(f"{ratio:.0f} times faster, {of_processor:.0f} by processor time")
    print(f"ends of intervals at most {apart:.1%} of their length apart")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if record["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
