"""What a search costs until it has found a good configuration: ``python -m benchmarks.search``.

Searches run on recorded curves of real trials (``benchmarks/results/search_curves.csv``, made by
``benchmarks.search_table``): a slot takes the curve of the nearest configuration in the table instead of training; asks
and decisions at rungs are those of the harness. Each search is repeated under 20 names, which decide its random
streams. Counted are the training steps until a trial has ended whose validation score is at least 99 % of the best in
the table; a trial that was pruned costs the steps up to there and counts for nothing.

Where Ray is installed, Ray Tune searches the same table by itself (``benchmarks.search_in_ray``).

steps   median over the repetitions, and its ratio to that of random search
curve   the mean best score after a budget of so many whole trainings
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.search_table import METRIC, RATES, RATIOS, TABLE
from harness.core.errors import EXIT_DONE, run_command
from harness.search import Asked, make_sampler
from harness.search.rungs import Judge
from harness.space.parameters import Int, Space
from harness.spec.search import SearchSpec

SPACE: Space = {"lr": Int(3, 0, len(RATES) - 1), "head_lr_ratio": Int(5, 0, len(RATIOS) - 1)}
"""Places in the table's grid; neighbours are alike."""
SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "random": {"sampler": "random"},
    "tpe": {"sampler": "tpe"},
    "tpe, asha": {"sampler": "tpe", "pruner": "asha"},
    "tpe, asha, 4 anchors": {"sampler": "tpe", "pruner": "asha", "anchors": 4},
    "tpe, asha, no anchors": {"sampler": "tpe", "pruner": "asha", "anchors": 0},
}
GOOD = 0.99
SLOTS = 300
RAY_SLOTS = 60
"""Each trial takes Ray a noticeable time; more are only needed where a search does not get there."""
BUDGETS = (5, 10, 20, 40)
"""Whole trainings."""

Curves = Mapping[tuple[int, int], Sequence[float]]


def read_table(path: Path) -> tuple[Curves, int]:
    """(lr, ratio) → score after each epoch, and the steps of an epoch."""
    curves: dict[tuple[int, int], list[float]] = {}
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            curves.setdefault((int(row["lr"]), int(row["head_lr_ratio"])), []).append(float(row[METRIC]))
            steps = int(row["step"]) // int(row["epoch"])
    return curves, steps


def nearest(curves: Curves, lr: int, ratio: int) -> Sequence[float]:
    """The curve of the configuration itself, or of that of the table whose place in the grid is nearest."""
    return curves[min(curves, key=lambda place: ((place[0] - lr) ** 2 + (place[1] - ratio) ** 2, place))]


def search(settings: Mapping[str, Any], name: str, curves: Curves, steps: int, good: float) -> dict[str, Any]:
    """One search: steps until a score of ``good``, and the best score after each budget."""
    spec = SearchSpec.model_validate({"trials": SLOTS, "concurrency": 1, **settings})
    engine, history = make_sampler(SPACE, spec, name), list[Asked]()
    epochs = max(map(len, curves.values()))
    spent, best, reached, pruned = 0, 0.0, None, 0
    at_budget = dict.fromkeys(BUDGETS, 0.0)
    while len(history) < SLOTS and (reached is None or spent < max(BUDGETS) * epochs * steps):
        slot = len(history)
        asked = engine.propose(slot, history)
        curve = nearest(curves, int(asked["lr"]), int(asked["head_lr_ratio"]))
        judge = Judge(spec, name, slot, [history[n] for n in engine.before(slot)])
        made = (judge(epochs, epoch * steps, curve[:epoch]) for epoch in range(1, len(curve)))
        end = next((decision.epoch for decision in made if decision is not None and decision.prune), None)
        spent += (end or len(curve)) * steps
        pruned += end is not None
        if end is None:
            best = max(best, *curve)
        for budget in BUDGETS:
            if spent <= budget * epochs * steps:
                at_budget[budget] = best
        if reached is None and best >= good:
            reached = spent
        history.append(Asked(slot, asked, None if end else max(curve), end is not None, curve[:end]))
    return {"steps": reached, "pruned": pruned, "slots": len(history), "best": at_budget}


def in_ray(curves: Curves, good: float, repetitions: int) -> list[dict[str, Any]]:
    """The same searches by Ray Tune with its own ASHA."""
    from benchmarks.search_in_ray import searches

    axes = {name: (p.low, p.high, p.default) for name, p in SPACE.items() if isinstance(p, Int)}
    names = [f"repetition {n}" for n in range(repetitions)]
    reduction = SearchSpec().reduction
    return searches(names, partial(nearest, curves), axes, good, RAY_SLOTS, reduction)


def compare(curves: Curves, steps: int, repetitions: int, with_ray: bool) -> dict[str, Any]:
    """All searches side by side."""
    top = max(max(curve) for curve in curves.values())
    whole = max(map(len, curves.values())) * steps
    rows: dict[str, Any] = {}
    for label, settings in SEARCHES.items():
        found = [search(settings, f"repetition {n}", curves, steps, GOOD * top) for n in range(repetitions)]
        # A search that never gets there counts as slower than all that do.
        reached = [math.inf if one["steps"] is None else one["steps"] for one in found]
        rows[label] = {
            **_median(reached, whole),
            "pruned_share": sum(one["pruned"] for one in found) / sum(one["slots"] for one in found),
            "best_after": {str(b): statistics.fmean(one["best"][b] for one in found) for b in BUDGETS},
        }
    if with_ray:
        found = in_ray(curves, GOOD * top, repetitions)
        reached = [math.inf if one["epochs"] is None else one["epochs"] * steps for one in found]
        rows["Ray Tune: tpe, asha"] = {
            **_median(reached, whole),
            "pruned_share": sum(one["pruned"] for one in found) / sum(one["slots"] for one in found),
        }
    for row in rows.values():
        row["median_ratio"] = row["median_steps"] / rows["random"]["median_steps"]
    good = sum(max(curve) >= GOOD * top for curve in curves.values())
    return {"best": top, "configurations": len(curves), "good_configurations": good, "searches": rows}


def _median(reached: Sequence[float], whole: int) -> dict[str, float]:
    """How many searches got there, and the median of their steps, where those that did not come last."""
    steps = statistics.median(reached)
    there = sum(map(math.isfinite, reached))
    return {"reached": there, "median_steps": steps, "median_trainings": steps / whole}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description="Searches on recorded curves.")
    parser.add_argument("--repetitions", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=TABLE.parent / "search.json", help="default: %(default)s")
    arguments = parser.parse_args(argv)

    def command() -> int:
        ray = importlib.util.find_spec("ray") is not None
        versions = {name: version(name) for name in ("optuna", *(["ray"] if ray else []))}
        found = {**versions, **compare(*read_table(TABLE), arguments.repetitions, ray)}
        for row in found["searches"].values():
            # A median over searches of which half do not get there is no number, in JSON either.
            row |= {key: None for key, value in row.items() if value == math.inf}
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")
        for label, row in found["searches"].items():
            median = "half do not get there"
            if row["median_steps"] is not None:
                ratio = row["median_ratio"]
                median = f"{row['median_trainings']:5.1f} trainings in the median, ratio to random {ratio:.3f}"
            print(f"{label:22} {median}; reached in {row['reached']} of {arguments.repetitions}")
        return EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
