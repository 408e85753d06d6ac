"""The same short trials as a sweep here, by an Optuna script and by Ray Tune: ``python -m benchmarks.sweep``.

All train the same network on the same image files, of which 64 % train and 16 % validate after each epoch, by methods
that one writes by hand in a line: full fine-tuning, the affine parameters of the batch norms, a linear probe. The
learning rate of each is searched by TPE. What counts is the wall time from the command to the last trial's result. Here
it includes starting workers, decoding the archive once, and all that the run directory records. Ray's cluster is up
before its clock runs; ``ray`` is Ray Tune as it comes, a process for each trial, ``ray_reuse`` with processes that are
used again. Rounds have all sides in turn, in an order that rotates; a ratio is that of two sides of a round.
``--add`` keeps the rounds of earlier commands with the same settings.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.image_sources import lay_out
from benchmarks.overhead import machine
from benchmarks.sweep_rivals import LR, Plan
from harness.data.cache import default_data_root
from harness.store import RunDirectory

ARCHIVE = "brain-tumor-mri-dataset.zip"
AT_MOST = 0.5
RIVALS = ("optuna", "ray", "ray_reuse")
LIMIT_SECONDS = 900.0


def ours(plan: Plan, work: Path) -> float:
    """Seconds from the sweep command to the last result of the search."""
    file, run = work / "sweep.yaml", work / "run"
    document = {
        "name": "sweep",
        "backbone": {"name": plan.backbone, "weights": None},
        "datasets": [{"mri": {"dataset": "image_folder", "path": Path(plan.folder).name}}],
        "methods": [
            {name: {"head_lr" if name == "linear_probe" else "lr": {"log": list(LR)}}} for name in plan.methods
        ],
        "train": {"epochs": plan.epochs, "batch_size": plan.batch, "image_size": plan.size},
        "search": {"sampler": "tpe", "trials": plan.trials, "seeds": [0]},
        "confirm": {"seeds": 1, "repeat": False},
        "launch": {"kind": "local", "workers": plan.workers, "threads": 1},
    }
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    command = [sys.executable, "-m", "harness.sweep", str(file), "--run-dir", str(run)]
    environment = {**os.environ, "GPAF_BENCH_DATA": str(Path(plan.folder).parent), "GPAF_BENCH_CACHE": str(work / "c")}
    began = time.time()
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=LIMIT_SECONDS)
    studies = [RunDirectory(run).study(f"{name}@mri") for name in plan.methods]
    results = [trial.result() for study in studies for trial in study.trials("search")]
    _require(plan, sum(result["status"] == "done" for result in results))
    return max(float(result["time"]["ended"]) for result in results) - began


def rival(side: str, plan: Plan, extra: dict[str, str]) -> float:
    """Seconds from the command of another side to its last result."""
    command = [sys.executable, "-m", "benchmarks.sweep_rivals", side, json.dumps(asdict(plan))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **extra}
    began = time.time()
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=LIMIT_SECONDS
    )
    said = json.loads(done.stdout.splitlines()[-1])
    _require(plan, said["trials"])
    return float(said["ended"]) - began


def by_ray(plan: Plan, work: Path) -> float:
    """As ``rival``, on a cluster of its own that is up before."""
    from harness.ray.cluster import RayCluster

    work.mkdir()
    cluster = RayCluster(work, lambda name: work / f"{name}.log", cpus=plan.workers, gpus=0)
    cluster.start()
    try:
        while (head := cluster.poll()) is None:
            threading.Event().wait(0.1)
        assert head.address is not None
        return rival("ray", plan, {**cluster.environment(head), "RAY_ADDRESS": head.address})
    finally:
        cluster.end()


def _require(plan: Plan, ended: int) -> None:
    if ended != plan.trials * len(plan.methods):
        raise RuntimeError(f"{ended} of {plan.trials * len(plan.methods)} trials ended well")


def one_round(plan: Plan, sides: Sequence[str], work: Path) -> dict[str, float]:
    """Seconds of each side, in turn."""
    seconds = {}
    for side in sides:
        own = work / side
        if side.startswith("ray"):
            seconds[side] = by_ray(replace(plan, scratch=str(work / "tune"), reuse=side == "ray_reuse"), own)
        elif side == "optuna":
            seconds[side] = rival(side, plan, {})
        else:
            own.mkdir()
            seconds[side] = ours(plan, own)
        print(f"{side}: {seconds[side]:.1f} s", flush=True)
    return seconds


def earlier_rounds(path: Path, settings: dict[str, Any]) -> list[dict[str, float]]:
    """The rounds of an earlier command with the same settings."""
    if not path.exists():
        return []
    record = json.loads(path.read_text())
    return list(record["rounds"]) if record["settings"] == settings else []


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where the requirement is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description="A sweep beside Optuna and Ray.")
    parser.add_argument("--trials", type=int, default=16, help="of each method (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=["full_finetune", "bn_affine", "linear_probe"], metavar="M")
    parser.add_argument("--images", type=int, default=1024, help="image files (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="of a trial (default: %(default)s)")
    parser.add_argument("--size", type=int, default=28, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--backbone", default="resnet18", help="of torchvision (default: %(default)s)")
    parser.add_argument("--loaders", type=int, default=0, help="processes of each DataLoader (default: %(default)s)")
    parser.add_argument("--sides", nargs="+", default=["here", *RIVALS], choices=("here", *RIVALS))
    parser.add_argument("--rounds", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--add", action="store_true", help="keep the rounds that were recorded before")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sweep.json")
    options = parser.parse_args(argv)
    workers = len(os.sched_getaffinity(0))
    synthetic = not (default_data_root() / ARCHIVE).is_file()
    where, rounds = machine(1), []
    with tempfile.TemporaryDirectory(prefix="gpaf-sweep-") as scratch:
        sources = lay_out(Path(scratch), options.images, synthetic)
        plan = Plan(
            str(sources.folder), tuple(options.methods), options.trials, options.epochs, 64, options.size,
            options.backbone, workers, options.loaders, False, "",
        )  # fmt: skip
        settings = json.loads(json.dumps({**asdict(plan), "folder": sources.what}))
        known = earlier_rounds(options.out, settings) if options.add else []
        for number in range(len(known), len(known) + options.rounds):
            turn = number % len(options.sides)
            work = Path(scratch) / str(number)
            work.mkdir()
            rounds.append(one_round(plan, [*options.sides[turn:], *options.sides[:turn]], work))
    rounds = [*known, *rounds]
    ratios: dict[str, Any] = {}
    for side in RIVALS:
        pairs = [one["here"] / one[side] for one in rounds if "here" in one and side in one]
        if pairs:
            ratios[side] = {"median": statistics.median(pairs), "pairs": pairs, "at_most": AT_MOST}
            print(f"here / {side}: {ratios[side]['median']:.3f} (median of {len(pairs)}; at most {AT_MOST})")
    where["load_average_after"] = os.getloadavg()
    command = ["python", "-m", "benchmarks.sweep", *(sys.argv[1:] if argv is None else argv)]
    record = {"machine": where, "command": " ".join(command), "settings": settings, "rounds": rounds, "ratios": ratios}
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(ratio["median"] <= AT_MOST for ratio in ratios.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
