"""The same short trials as a sweep here, by an Optuna script and by Ray Tune: ``python -m benchmarks.sweep``.

All train the same network on the same image files, of which 64 % train and 16 % validate after each epoch. The learning
rate of each method is searched by TPE; what the search has chosen is trained once more on another seed and tested. What
counts is the wall time from the command to the last trial's result. Here it includes starting workers, decoding the
archive once, and all that the run directory records. Ray's cluster is up before its clock runs; ``ray`` is Ray Tune as
it comes, a process for each trial, ``ray_reuse`` with processes that are used again. ``optuna_strong`` is the Optuna
script by somebody who knows torch well (``benchmarks.strong_training``).

The methods are those that the throughput benchmark holds to a limit and that one writes by hand: full fine-tuning,
LoRA-C by the authors' equation, the affine parameters of the batch norms, a linear probe; an equal share of 48 trials
each. GPAF is left out, because nobody has a script of it. This was settled before it was measured. An earlier
mix of three, without LoRA-C and without the last training, is in ``docs/performance.md``. It is checked that a method
trains as many scalars on every side.

Rounds have all sides in turn, in an order that rotates; a ratio is that of two sides of a round. ``--add`` keeps the
rounds of earlier commands with the same settings, and gives those without the sides of this command these sides first.
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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.image_sources import lay_out
from benchmarks.overhead import machine
from benchmarks.sweep_rivals import LR, RANK, SCALE, Plan
from harness.core.errors import RequestError, run_command
from harness.core.identity import differences
from harness.data.cache import default_data_root
from harness.run.directory import RunDirectory

METHODS = ("full_finetune", "lora_c", "bn_affine", "linear_probe")
ARCHIVE = "brain-tumor-mri-dataset.zip"
AT_MOST = {"optuna": 0.5, "optuna_strong": 0.5, "ray": 0.2, "ray_reuse": 0.5}
"""Rival → the largest share of its wall time."""
RIVALS = tuple(AT_MOST)
STAGES: tuple[Literal["search", "confirm"], ...] = ("search", "confirm")
LIMIT_SECONDS = 900.0


@dataclass(frozen=True)
class Outcome:
    """What a side has done."""

    seconds: float
    trained: dict[str, int]
    """Scalars that each method trains."""


def searched(method: str) -> dict[str, Any]:
    """What a sweep file says of a method: one learning rate is searched, the rest stays."""
    fixed = {"rank": RANK, "scale": SCALE} if method == "lora_c" else {}
    return {"head_lr" if method == "linear_probe" else "lr": {"log": list(LR)}, **fixed}


def ours(plan: Plan, work: Path) -> Outcome:
    """From the sweep command to the last result."""
    file, run = work / "sweep.yaml", work / "run"
    document = {
        "name": "sweep",
        "backbone": {"name": plan.backbone, "weights": None},
        "datasets": [{"mri": {"dataset": "image_folder", "path": Path(plan.folder).name}}],
        "methods": [{name: searched(name)} for name in plan.methods],
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
    last, ended, trained = began, 0, {}
    for name in plan.methods:
        study = RunDirectory(run).study(f"{name}@mri")
        results = [trial.result() for stage in STAGES for trial in study.trials(stage)]
        ended += sum(result["status"] == "done" for result in results)
        last = max(last, *(float(result["time"]["ended"]) for result in results))
        trained[name] = results[0]["parameters"]["trainable"] + results[0]["parameters"]["head"]
    _require(plan, ended)
    return Outcome(last - began, trained)


def rival(side: str, plan: Plan, extra: dict[str, str]) -> Outcome:
    """From the command of another side to its last result."""
    command = [sys.executable, "-m", "benchmarks.sweep_rivals", side, json.dumps(asdict(plan))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **extra}
    began = time.time()
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=LIMIT_SECONDS
    )
    said = json.loads(done.stdout.splitlines()[-1])
    _require(plan, said["trials"])
    return Outcome(float(said["ended"]) - began, said["trained"])


def by_ray(plan: Plan, work: Path) -> Outcome:
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
    wanted = (plan.trials + 1) * len(plan.methods)
    if ended != wanted:
        raise RuntimeError(f"{ended} of {wanted} trials ended well")


def one_round(plan: Plan, sides: Sequence[str], work: Path, trained: dict[str, int]) -> dict[str, float]:
    """Seconds of each side, in turn.

    Args:
        trained: scalars that each method trains, as other sides have it; empty before the first one.

    Raises:
        RuntimeError: a trial has failed, or a method trains another number of scalars.
    """
    seconds = {}
    for side in sides:
        own = work / side
        if side.startswith("ray"):
            outcome = by_ray(replace(plan, scratch=str(work / "tune"), reuse=side == "ray_reuse"), own)
        elif side in RIVALS:
            own.mkdir()
            outcome = rival(side, replace(plan, scratch=str(own)), {})
        else:
            own.mkdir()
            outcome = ours(plan, own)
        trained.update(trained or outcome.trained)
        if outcome.trained != trained:
            raise RuntimeError(f"{side} trains {outcome.trained} scalars, the others {trained}")
        seconds[side] = outcome.seconds
        print(f"{side}: {seconds[side]:.1f} s", flush=True)
    return seconds


def earlier(path: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """What earlier commands have recorded.

    Raises:
        RequestError: they had other settings.
    """
    if path is None or not path.exists():
        return {"commands": [], "rounds": [], "trained": {}}
    record: dict[str, Any] = json.loads(path.read_text())
    changed = differences(record["settings"], settings)
    if changed:
        raise RequestError(f"{path}: was measured otherwise ({'; '.join(changed)}); choose another file with --out")
    return {key: record[key] for key in ("commands", "rounds", "trained")}


def next_round(rounds: list[dict[str, float]], sides: Sequence[str]) -> dict[str, float]:
    """The first round that has none of these sides yet; a new one where each has."""
    for one in rounds:
        if not set(sides) & set(one):
            return one
    rounds.append({})
    return rounds[-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where the requirement is not met, 2 where the request is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description="A sweep beside Optuna and Ray.")
    parser.add_argument(
        "--trials", type=int, default=11, help="of each method's search, to which one comes (default: %(default)s)"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="M", help="default: all four")
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
    return run_command(lambda: measure(options, sys.argv[1:] if argv is None else argv))


def measure(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Carry out the command line, which had these words."""
    workers = len(os.sched_getaffinity(0))
    synthetic = not (default_data_root() / ARCHIVE).is_file()
    where = machine(1)
    with tempfile.TemporaryDirectory(prefix="gpaf-sweep-") as scratch:
        sources = lay_out(Path(scratch), options.images, synthetic)
        plan = Plan(
            str(sources.folder), tuple(options.methods), options.trials, options.epochs, 64, options.size,
            options.backbone, workers, options.loaders, False, "",
        )  # fmt: skip
        settings = json.loads(json.dumps({**asdict(plan), "folder": sources.what}))
        record = earlier(options.out if options.add else None, settings)
        rounds: list[dict[str, float]] = record["rounds"]
        for number in range(options.rounds):
            work = Path(scratch) / str(number)
            work.mkdir()
            one = next_round(rounds, options.sides)
            turn = rounds.index(one) % len(options.sides)
            sides = [*options.sides[turn:], *options.sides[:turn]]
            one.update(one_round(plan, sides, work, record["trained"]))
    ratios: dict[str, Any] = {}
    for side in RIVALS:
        pairs = [one["here"] / one[side] for one in rounds if "here" in one and side in one]
        if pairs:
            ratios[side] = {"median": statistics.median(pairs), "pairs": pairs, "at_most": AT_MOST[side]}
            print(f"here / {side}: {ratios[side]['median']:.3f} (median of {len(pairs)}; at most {AT_MOST[side]})")
    where["load_average_after"] = os.getloadavg()
    command = ["python", "-m", "benchmarks.sweep", *words]
    record["commands"].append({"command": " ".join(command), "machine": where})
    options.out.write_text(json.dumps({"settings": settings, **record, "ratios": ratios}, indent=2) + "\n")
    return 0 if all(ratio["median"] <= ratio["at_most"] for ratio in ratios.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
