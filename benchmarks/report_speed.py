"""How long a report takes as the sweep grows: ``python -m benchmarks.report_speed``.

Synthetic run directories of 10 methods on 12 datasets, with 20 confirm seeds each and their predictions for 2,000 test
cases, have 1,000, 10,000 and 100,000 search trials. A fresh process reads each and times every step from the files to
the verdicts; then the command that writes the whole report is run and watched. Nothing was trained: hyperparameters,
scores and logits are drawn at random, and the files are written without waiting for the disk, so they are read from the
system's cache as after a copy.

The requirements: the report of 100,000 trials in at most a minute, and a growth of no more than the number of trials.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from harness.core.files import encode_json
from harness.metrics.table import evaluate, general
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder
from harness.run.trial import TrialFolder

METHODS = tuple(f"method_{number}" for number in range(10))
DATASETS = tuple(f"dataset_{number:02d}" for number in range(12))
CLASSES = ("nevus", "melanoma", "keratosis", "carcinoma")
SEEDS, CASES, EPOCHS = 20, 2000, 30
CONFIGURATION = "63e42797d2"
LIMIT_SECONDS = 60.0
PLACE = "<place {}>"
"""Stands in a template for what differs between trials; short keys in quotes, so that a number replaces it."""


def plain_write(path: Path, content: bytes) -> None:
    """Write a file that need not survive a power failure."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


class Template:
    """A JSON document of which a few values change.

    Args:
        document: with ``PLACE.format(name)`` wherever a value is to be filled in.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._text = encode_json(dict(document)).decode()

    def fill(self, **values: float | None) -> bytes:
        """The document with its values."""
        text = self._text
        for name, value in values.items():
            text = text.replace(f'"{PLACE.format(name)}"', json.dumps(value))
        return text.encode()


def begin(run: RunDirectory) -> None:
    """Specification and cards, without any study."""
    run.create()
    run.write_spec(
        {
            "name": "report speed",
            "backbone": {"name": "resnet50", "weights": None},
            "datasets": {label: {"dataset": "shapes", "options": {}} for label in DATASETS},
            "methods": {label: {"method": "probe", "backbone": None, "hyperparameters": {}} for label in METHODS},
            "train": {"epochs": EPOCHS, "batch_size": 64},
            "split": {"kind": "grouped", "seed": 0},
            "search": {"metric": "balanced_accuracy", "sampler": "random", "trials": 1, "seeds": [0]},
            "confirm": {"seeds": SEEDS, "control": METHODS[0], "correction": "holm", "margin": 0.01},
            "launch": {"kind": "local", "workers": 2},
        }
    )
    counts = [CASES // len(CLASSES)] * len(CLASSES)
    for label in DATASETS:
        run.write_card(
            label,
            {
                "name": "shapes", "title": "Made-up shapes", "modality": "drawing", "licence": "CC0",
                "citation": "Nobody (2026)", "classes": list(CLASSES), "images": 5 * CASES, "fingerprint": label,
                "split": {"kind": "grouped", "seed": 0, "digest": "abcd"},
                "counts": {"train": counts, "val": counts, "test": counts},
            },
        )  # fmt: skip


def describe(study: StudyFolder, method: str, dataset: str, slots: int) -> None:
    """The description of a study that was given so many slots."""
    study.path.mkdir(parents=True, exist_ok=True)
    space = {"lr": {"kind": "Float", "default": 1e-3, "low": 1e-4, "high": 1e-2, "log": True}}
    document = {
        "label": method, "dataset": dataset, "method": "probe", "dataset_name": "shapes", "summary": "Trains nothing.",
        "space": space, "backbone": {"name": "resnet50", "weights": None}, "search_slots": slots, "search_seeds": [0],
        "confirm_seeds": list(range(1000, 1000 + SEEDS)),
        "identity": {"protocol": 2, "search": {"metric": "balanced_accuracy"}, "train": {"epochs": EPOCHS}},
    }  # fmt: skip
    plain_write(study.path / "study.json", encode_json(document))
    chosen = {
        "slot": 0, "value": 0.8, "metric": "balanced_accuracy", "hyperparameters": {"lr": 1e-3},
        "configuration": CONFIGURATION, "of": slots,
    }  # fmt: skip
    plain_write(study.path / "chosen.json", encode_json(chosen))


def result_template(stage: str, sides: Sequence[str]) -> Template:
    """A result with everything that a trial on four classes records."""
    per_class = {name: [0.7512345678901234] * len(CLASSES) for name in ("auc_per_class", "sensitivity", "specificity")}
    table = {"confusion": [[100] * len(CLASSES)] * len(CLASSES), "support": [400] * len(CLASSES)}
    metrics = {side: {name: PLACE.format(f"{side}_{name}") for name in general()} | per_class | table for side in sides}
    return Template(
        {
            "stage": stage, "slot": PLACE.format("slot"), "seed": PLACE.format("seed"),
            "hyperparameters": {
                "rank": 8, "scale": 2.0, "setting": 2, "targets": "all", "rank_dropout": 0.0, "lr": PLACE.format("lr"),
                "head_lr": 0.001, "weight_decay": 0.0001, "optimizer": "adamw",
            },
            "identity": "38cfd98a62ed8df2d0e506f70e7b4b0461534e047caca4c71fcb40e9424593d7",
            "status": "done", "cause": None, "message": None, "metrics": metrics,
            "best_epoch": EPOCHS, "epochs": EPOCHS, "steps": 100 * EPOCHS,
            "parameters": {"trainable": 32256, "head": 195, "total": 304275},
            "cost": {
                "own": 32256, "norm": 0, "head": 195, "backbone": 271824, "percent": 11.866501854140914,
                "storage_bytes": 129804, "optimizer_bytes": 259776, "multiply_adds": 10203136,
                "multiply_adds_before": 10203136,
            },
            "time": {"started": 1.5e9, "ended": 1.5e9, "attempt_seconds": 8.1, "train_seconds": 8.0},
            "memory": {"peak_bytes": 1128202240}, "device": {"name": "cpu", "threads": 1},
        }
    )  # fmt: skip


class Writer:
    """Writes trial folders as a worker leaves them, without the flushes."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._rng = rng
        self._search, self._confirm = result_template("search", ["val"]), result_template("confirm", ["val", "test"])
        scores = {"accuracy": 0.75, "balanced_accuracy": 0.75, "auc": 0.9, "nll": 0.7, "mcc": 0.6}
        line = {"epoch": 0, "step": 100, "train_loss": 0.7349005043506622, "val": scores}
        self._curve = "".join(
            json.dumps({**line, "epoch": epoch}, sort_keys=True) + "\n" for epoch in range(EPOCHS)
        ).encode()
        self._lease = encode_json(
            {
                "host": "node/boot/pid", "hostname": "node", "pid": 26389, "process_started": 1.5e9,
                "claimed": time.time() - 10, "progress": 0, "device": "cpu", "slurm_job": None, "released": "finished",
            }
        )  # fmt: skip
        self._request = Template(
            {
                "stage": "search", "study": "a study", "slot": PLACE.format("slot"), "seed": PLACE.format("seed"),
                "hyperparameters": {"lr": PLACE.format("lr")}, "conditioned_on": [], "threads": 1, "identity": "38cf",
            }
        )  # fmt: skip
        self._case_ids = [f"shapes/{case:05d}" for case in range(CASES)]
        self._labels = np.arange(CASES) % len(CLASSES)

    def searched(self, folder: TrialFolder, slot: int) -> None:
        """A search trial."""
        values = {f"val_{name}": float(self._rng.uniform(0.6, 0.8)) for name in general()}
        self._trial(folder, self._search, {"slot": slot, "seed": 0, "lr": float(self._rng.uniform()), **values})

    def confirmed(self, folder: TrialFolder, seed: int, level: float) -> None:
        """A confirm trial with predictions whose metrics are the recorded ones."""
        logits = self._rng.normal(size=(CASES, len(CLASSES)))
        logits[np.arange(CASES), self._labels] += level
        found = evaluate(logits, self._labels)
        values = {f"{side}_{name}": found[name] for side in ("val", "test") for name in general()}
        self._trial(folder, self._confirm, {"slot": None, "seed": seed, "lr": 1e-3, **values})
        columns = {f"logit_{k}": logits[:, k] for k in range(len(CLASSES))}
        frame = {"case_id": self._case_ids, "group": self._case_ids, "label": self._labels, **columns}
        pl.DataFrame(frame).write_parquet(folder.path / "predictions.parquet")

    def _trial(self, folder: TrialFolder, result: Template, values: Mapping[str, Any]) -> None:
        folder.path.mkdir(parents=True)
        plain_write(folder.path / "trial.json", self._request.fill(**values))
        plain_write(folder.path / "lease.0001", self._lease)
        plain_write(folder.path / "curve.jsonl", self._curve)
        plain_write(folder.path / "log.txt", b"05:48:39 begun\n05:48:45 finished\n")
        plain_write(folder.result_path, result.fill(**values))


def made(path: Path, trials: int) -> RunDirectory:
    """A run with so many search trials, evenly over the studies, and all confirm trials; made unless it is there."""
    unfinished = RunDirectory(path.with_name(f"{path.name}.unfinished"))
    if not path.exists():
        shutil.rmtree(unfinished.path, ignore_errors=True)
        begin(unfinished)
        writer = Writer()
        names = [(method, dataset) for dataset in DATASETS for method in METHODS]
        for place, (method, dataset) in enumerate(names):
            study = unfinished.study(f"{method}@{dataset}")
            slots = trials // len(names) + (place < trials % len(names))
            describe(study, method, dataset, slots)
            for slot in range(slots):
                writer.searched(study.search_trial(slot, 0), slot)
            for seed in range(1000, 1000 + SEEDS):
                writer.confirmed(study.confirm_trial(CONFIGURATION, seed), seed, 1.5 + 0.02 * METHODS.index(method))
        unfinished.path.rename(path)
    return RunDirectory(path)


def steps(path: Path, workers: int) -> dict[str, float]:
    """Seconds of each step in this process, and the most memory (MiB) that it used."""
    from analysis.comparison.compare import analyse
    from analysis.runs.evidence import evidence_of
    from analysis.runs.summary import summarise
    from harness.core.parallel import Pool
    from harness.run import frames

    run, measured = RunDirectory(path), {}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = action()
        measured[name] = time.perf_counter() - started
        return result

    # Started before the clock, as a report starts it once for all of its steps.
    with Pool(workers) as pool:
        pool.submit(os.getpid)()
        records = timed("read", lambda: frames.read(run, pool))
    timed("summarise", lambda: summarise(run, records))
    evidence = timed("evidence_of", lambda: evidence_of([run], [records]))
    timed("predictions", lambda: [evidence.predictions(name) is None for name in evidence.datasets])
    timed("analyse", lambda: analyse(evidence))
    return {**measured, "steps_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def report(path: Path) -> dict[str, float]:
    """Seconds that the command for the whole report takes, of processors too, and the most memory of its processes."""
    spent, most = _spent_by_children(), 0.0
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        command = [sys.executable, "-m", "analysis.report", str(path), "--out", out]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                most = max(most, _resident_mib(process.pid))
                time.sleep(0.25)
        seconds = time.perf_counter() - started
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"report": seconds, "report_cpu": _spent_by_children() - spent, "report_mib": most}


def _spent_by_children() -> float:
    """Seconds of processors that the processes started here, and those that they started, have used and ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident_mib(pid: int) -> float:
    """Memory of a process and of all below it; what they share counts for each."""
    import psutil

    total = 0
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for one in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total / 2**20


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The measurements as a Markdown table, seconds but for the memory."""
    columns = [*rows[0]]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(f'{row[name]:,.4g}' for name in columns)} |" for row in rows)])


def growth(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By how much each step grew from the smallest to the largest number of trials, as a share of the trials'."""
    first, last = rows[0], rows[-1]
    trials = last["trials"] / first["trials"]
    timed = ("read", "summarise", "evidence_of", "predictions", "analyse", "report")
    return {name: last[name] / first[name] / trials for name in timed}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, record; 1 where a requirement is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_speed", description="How long a report takes.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], metavar="N", help="trials")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that read (one a core)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="make the run directories there, or measure those that are there"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "report_speed.json")
    parser.add_argument("--steps", type=Path, metavar="RUN", help="time the steps on this run directory, print JSON")
    options = parser.parse_args(argv)
    if options.steps is not None:
        print(json.dumps(steps(options.steps, options.workers)))
        return 0
    load = os.getloadavg()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gpaf-report-speed-") as scratch:
        folder = Path(scratch) if options.keep is None else options.keep
        for trials in sorted(options.sizes):
            run = made(folder / str(trials), trials)
            words = ["-m", "benchmarks.report_speed", "--steps", str(run.path), "--workers", str(options.workers)]
            done = subprocess.run([sys.executable, *words], check=True, stdout=subprocess.PIPE, text=True)
            rows.append({"trials": trials, **json.loads(done.stdout.splitlines()[-1]), **report(run.path)})
            print(table(rows[-1:]), flush=True)
    # It loads torch; a process that is started from one with torch counts that as memory of its own.
    from benchmarks.overhead import machine

    where = {**machine(options.workers), "load_average_before": load, "load_average_after": os.getloadavg()}
    shares = growth(rows)
    met = rows[-1]["report"] <= LIMIT_SECONDS and all(share <= 1 for share in shares.values())
    print(table(rows))
    print(json.dumps({"growth": shares, "met": met, "machine": where}))
    command = ["python", "-m", "benchmarks.report_speed", *(sys.argv[1:] if argv is None else argv)]
    record = {"machine": where, "command": " ".join(command), "rows": rows, "growth": shares, "met": met}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
