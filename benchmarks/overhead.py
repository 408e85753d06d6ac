"""What the harness costs: ``python -m benchmarks.overhead``; what is measured, and how, is in the README here.

Both sides of every ratio are measured in this one run, in turn, because a ratio of today's time and a time from
elsewhere says nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

from benchmarks.bare_loop import Logits, bare_training
from harness.core.lease import keep_alive
from harness.data.cache import default_cache_root, default_data_root
from harness.data.split import indices
from harness.metrics.table import evaluate
from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrainedResult, TrialRequest
from harness.space.parameters import Choice, Fixed, Space, Value
from harness.studies.loading import load_mapping
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study
from harness.train.evaluate import predict
from harness.train.job import Control, TrialJob
from harness.train.loop import Training
from harness.train.run import run_trial
from harness.work.claims import ClaimedTrial
from harness.work.running import trial_log
from harness.work.scheduler import Scheduler
from harness.work.worker_report import write_report

Row = dict[str, Any]
P = ParamSpec("P")
Result = TypeVar("Result")

MAX_RATIO, MAX_COORDINATION_MS, MAX_HELP_SECONDS = 1.03, 50.0, 0.35
CPU = torch.device("cpu")


def planned(folder: Path, document: Mapping[str, Any]) -> list[Study]:
    """The studies of a new run directory."""
    spec = load_mapping({"name": "overhead", **document}, []).spec
    run = RunDirectory(folder)
    run.create()
    run.write_spec(spec.model_dump(mode="json"))
    studies = Planner(spec, discover(), run, Roots(default_data_root(), default_cache_root())).studies()
    for study in studies:
        study.folder.describe(study.description())
    return studies


def work_on(taken: ClaimedTrial, training: Callable[[Control], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What a worker does around a training."""
    taken.lease.note(device="cpu", slurm_job=None)
    with trial_log(taken) as log, keep_alive(taken.lease):
        log.info("start %s, attempt %d, %s", taken.title, taken.lease.number, taken.request["hyperparameters"])
        result = training(Control(stop=threading.Event(), log=log.info))
        taken.lease.release("finished")
        log.info("%s", result["status"])
    return result


def claimed(scheduler: Scheduler) -> ClaimedTrial:
    """The next trial, which there must be."""
    taken = scheduler.claim_next()
    if taken is None:
        raise RuntimeError("nothing was left to claim")
    return taken


# (a) one trial, in the harness and in a bare loop


def harness_trial(study: Study, threads: int) -> TrialFolder:
    """Claim, train and commit the first trial of a study, as a worker does."""
    taken = claimed(Scheduler([study], retries=5, threads=threads))
    work_on(taken, lambda control: run_trial(taken.job, taken.request, taken.folder, CPU, control))
    return taken.folder


def same_logits(job: TrialJob, folder: TrialFolder) -> tuple[bool, float]:
    """Whether both end with the same validation logits, bit for bit, and the processor's seconds of the bare one."""
    folder.create()
    training = Training(job, folder, CPU, Control())
    training.run()
    harness = predict(training.model, training.data, "val", job.train.eval_batch_size, None)
    started = time.process_time()
    logits = bare_training(job)[-1]
    return np.array_equal(harness, logits), (time.process_time() - started) / torch.get_num_threads()


def same_curve(job: TrialJob, folder: TrialFolder, history: Sequence[Logits]) -> bool:
    """Whether every validation metric of every epoch is the same number in both."""
    labels = job.data.labels[indices(job.split, job.data)[1]]
    expected = [evaluate(logits, labels, job.dataset.ordinal) for logits in history]
    curve = [line["val"] for line in folder.curve()]
    return len(curve) == len(expected) and all(
        line[name] == metrics[name] for line, metrics in zip(curve, expected, strict=True) for name in line
    )


def measure_trial(work: Path, method: str, dataset: str, seconds: float, pairs: int, threads: int) -> list[Row]:
    """Time of a trial in the harness over that of the bare loop."""
    size = 64 if seconds > 10 else 16
    document: dict[str, Any] = {
        "backbone": {"name": "resnet18" if seconds > 10 else "resnet20", "weights": None},
        "datasets": [dataset],
        "methods": [method],
        "train": {"epochs": 1, "image_size": size},
        "search": {"trials": 1},
        "confirm": {"seeds": 1},
    }
    probe = claimed(Scheduler(planned(work / f"{method}-probe", document), retries=5, threads=threads)).job
    # With one epoch, the best tensors are the last.
    equal, epoch = same_logits(probe, TrialFolder(work / f"{method}-equality", "search"))
    document["train"]["epochs"] = max(1, round(seconds / epoch))
    job = claimed(Scheduler(planned(work / f"{method}-job", document), retries=5, threads=threads)).job
    harness: list[list[float]] = []
    bare: list[list[float]] = []
    for pair in range(pairs):
        study = planned(work / f"{method}-{pair}", document)[0]
        # Each of both first, in turn: the machine's own speed drifts.
        if pair % 2:
            history = _timed(bare, bare_training, job)
            folder = _timed(harness, harness_trial, study, threads)
        else:
            folder = _timed(harness, harness_trial, study, threads)
            history = _timed(bare, bare_training, job)
        equal = equal and same_curve(job, folder, history)
    wall, cpu = ([h[clock] / b[clock] for h, b in zip(harness, bare, strict=True)] for clock in (0, 1))
    what = f"{method} on {dataset}, {document['backbone']['name']} at {size} px, {job.train.epochs} epochs"
    sides = {"same_training": equal, "harness_wall_and_cpu_seconds": harness, "bare_wall_and_cpu_seconds": bare}
    return [
        {**_row("trial / bare loop", what, wall, "×", MAX_RATIO), **sides},
        _row("the same, work of the processor", what, cpu, "×", None),
    ]


# (b) coordination of one trial with 1,000 finished ones in the run directory


def measure_coordination(work: Path, studies: int, finished: int, samples: int) -> list[Row]:
    """Milliseconds from asking for a trial to its committed result, without its training.

    The finished trials are synthetic: folders, files and their contents are real, but the hyperparameters are drawn at
    random, the scores too, and nothing was trained. All studies but the last are complete up to their confirmation.
    """
    document = {
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": ["digits"],
        "methods": {f"study{n}": {"method": "lora_c"} for n in range(studies)},
        "train": {"epochs": 1, "image_size": 8},
        "search": {"sampler": "tpe", "trials": finished},
        "confirm": {"seeds": 2, "vary": ["seed"]},
    }
    plans = planned(work / f"coordination-{studies}x{finished}", document)
    plans[-1] = replace(plans[-1], slots=finished + samples + 1)
    rng = random.Random(0)
    for study in plans:
        for slot in range(finished):
            _synthetic_trial(study, slot, rng)
    scheduler = Scheduler(plans, retries=5)
    while len(plans) > 1 and scheduler.states[-2].progress.complete() is False:
        coordinate(scheduler, rng)
    # Its start belongs to the first look: what is read then need not be read at the first claim, and the reverse.
    start = time.perf_counter()
    scheduler = Scheduler(plans, retries=5)
    coordinate(scheduler, rng)
    first = 1000 * (time.perf_counter() - start)
    times, cpu_times = [], []
    for _ in range(samples):
        cpu = time.process_time()
        times.append(1000 * _seconds(lambda: coordinate(scheduler, rng)))
        cpu_times.append(1000 * (time.process_time() - cpu))
    what = f"{studies} studies × {finished} finished trials, TPE" if studies > 1 else f"1 study, {finished}, TPE"
    return [
        _row("coordination of a trial", what, times, "ms", MAX_COORDINATION_MS),
        _row("of this, work of the processor", what, cpu_times, "ms", None),
        _row("start and first look of a worker", what, [first], "ms", None),
    ]


def _synthetic_trial(study: Study, slot: int, rng: random.Random) -> None:
    folder = study.folder.search_trial(slot, 0)
    hyperparameters = _draw(study.space, rng)
    lease = folder.claim(progress=0)
    if lease is None:
        raise RuntimeError(f"{folder.path} is taken")
    request: TrialRequest = {
        "stage": "search", "slot": slot, "seed": 0, "hyperparameters": hyperparameters, "conditioned_on": [],
        "threads": 1, "identity": study.trial_identity("search", hyperparameters, 0),
    }  # fmt: skip
    folder.write_request(request)
    folder.finish(_synthetic_result(request, rng))
    lease.release("finished")


def _synthetic_result(request: TrialRequest, rng: random.Random) -> TrainedResult:
    return {
        "stage": request["stage"],
        "slot": request["slot"],
        "seed": request["seed"],
        "hyperparameters": request["hyperparameters"],
        "identity": request["identity"],
        "status": "done",
        "cause": None,
        "message": None,
        "epochs": 1,
        "steps": 1,
        "metrics": {"val": {"balanced_accuracy": rng.random()}},
        "time": {"attempt_seconds": 1.0, "train_seconds": 1.0},
    }


def _draw(space: Space, rng: random.Random) -> dict[str, Value]:
    drawn: dict[str, Value] = {}
    for name, parameter in space.items():
        if isinstance(parameter, Fixed):
            drawn[name] = parameter.default
        elif isinstance(parameter, Choice):
            drawn[name] = rng.choice(parameter.choices)
        else:
            drawn[name] = math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high)))
    return drawn


def coordinate(scheduler: Scheduler, rng: random.Random) -> None:
    """All that a worker does for a trial but the training."""
    commit(scheduler, claimed(scheduler), rng)


def commit(scheduler: Scheduler, taken: ClaimedTrial, rng: random.Random) -> None:
    """All that a worker does for a claimed trial but the training."""
    said = scheduler.states[0].study.folder.path / f"worker-{os.getpid()}.json"
    write_report(said, taken.folder.name, scheduler.claimable())

    def training(control: Control) -> Mapping[str, Any]:
        result = _synthetic_result(taken.request, rng)
        taken.folder.finish(result)
        return result

    work_on(taken, training)


# (c) --help


def measure_help(repeats: int) -> list[Row]:
    """Wall seconds of ``python -m harness.sweep --help`` and, between its runs, of an empty program."""

    def run(*words: str) -> float:
        return _seconds(lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL))

    help_times, empty_times = [], []
    for _ in range(repeats):
        help_times.append(run("-m", "harness.sweep", "--help"))
        empty_times.append(run("-c", "pass"))
    return [
        _row("python -m harness.sweep --help", "", help_times, "s", MAX_HELP_SECONDS),
        _row("python -c pass", "", empty_times, "s", None),
    ]


def _timed(spent: list[list[float]], action: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """What an action gives; its wall time and processor time of all threads, in seconds, are added to ``spent``.

    The second one does not see who else is busy.
    """
    begun = time.perf_counter(), time.process_time()
    result = action(*args, **kwargs)
    spent.append([time.perf_counter() - begun[0], time.process_time() - begun[1]])
    return result


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _row(name: str, what: str, values: Sequence[float], unit: str, limit: float | None) -> Row:
    middle = statistics.median(values)
    met = None if limit is None else middle <= limit
    spread = {"median": middle, "min": min(values), "max": max(values), "values": list(values)}
    return {"measure": name, "what": what, **spread, "unit": unit, "limit": limit, "met": met}


def machine(threads: int) -> dict[str, Any]:
    """Where it was measured."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "cpu": models[0] if models else platform.processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": threads,
        "load_average_before": os.getloadavg(),
    }


def table(rows: Sequence[Row]) -> str:
    """The measurements as a Markdown table."""
    lines = ["| measure | case | median | min – max | at most |", "|---|---|---|---|---|"]
    for row in rows:
        spread = f"{row['min']:.3f} – {row['max']:.3f}" if len(row["values"]) > 1 else ""
        limit = "" if row["limit"] is None else f"{row['limit']} {row['unit']}: {'yes' if row['met'] else 'NO'}"
        same = {True: " (same training)", False: " (OTHER TRAINING)"}.get(row.get("same_training", ""), "")
        lines.append(
            f"| {row['measure']} | {row['what']}{same} | {row['median']:.3f} {row['unit']} | {spread} | {limit} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where a requirement is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="What the harness costs.")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a bare training (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of trainings a method (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=1000, help="finished trials (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a training (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=["full_finetune", "lora_c"], metavar="M")
    parser.add_argument("--dataset", help="default: brain_mri where its archive is in the data root, else digits")
    parser.add_argument("--quick", action="store_true", help="all of it in less than a minute, with little to learn")
    parser.add_argument("--work-dir", type=Path, help="where run directories are made (default: a temporary folder)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "overhead.json")
    options = parser.parse_args(argv)
    if options.quick:
        options.seconds, options.pairs, options.trials, options.dataset = 1.0, 1, 80, "digits"
    present = (default_data_root() / "brain-tumor-mri-dataset.zip").is_file()
    dataset = options.dataset or ("brain_mri" if present else "digits")
    torch.set_num_threads(options.threads)
    where = machine(options.threads)
    rows = measure_help(3 if options.quick else 10)
    with tempfile.TemporaryDirectory(prefix="gpaf-overhead-", dir=options.work_dir) as scratch:
        work = Path(scratch)
        samples = 10 if options.quick else 40
        rows += measure_coordination(work, 1, options.trials, samples)
        rows += measure_coordination(work, 8, options.trials // 8, samples)
        for method in options.methods:
            rows += measure_trial(work, method, dataset, options.seconds, options.pairs, options.threads)
    where["load_average_after"] = os.getloadavg()
    print(table(rows))
    print(json.dumps(where))
    command = ["python", "-m", "benchmarks.overhead", *(sys.argv[1:] if argv is None else argv)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": where, "command": " ".join(command), "rows": rows}
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    good = all(row["met"] is not False and row.get("same_training", True) for row in rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
