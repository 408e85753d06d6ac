"""What the run directory of a large sweep costs to look at: ``python -m benchmarks.scale``.

A folder of finished trials in 40 studies is written by a script (nothing is trained; hyperparameters and scores are
drawn) at 1,000 and 10,000 trials. At each size a fresh process measures, with everything imported:

- plan: from the specification to the studies, with the data decoded before;
- status: reading the whole run once;
- resume: the sweep's look for damaged files, and the scheduler's finding that nothing is left;
- ask: the next slot of one study, from a fresh scheduler.

The first look finds no index of results (``harness.run.index``): status and resume, each by itself in a fresh
process. What it leaves behind is what every later look finds. The same is measured where every file operation below the
run directory takes 2 ms longer, as on a cluster's file system (``slow_files.c``, preloaded; needs a C compiler). The
wall clock counts, the system's cache is warm. The limits hold for every look but the first one at slow files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report_speed import plain_write
from harness.core.files import encode_json
from harness.core.identity import configuration_hash, differences
from harness.data.cache import default_data_root
from harness.metrics.table import general
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.space.parameters import Value
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study
from harness.work.reporting import results_state

SIZES = (1_000, 10_000)
METHODS, DATASETS, SEEDS = 10, 4, 10
LATENCY_US = 2000
LIMITS = {"plan": 2.0, "status": 1.0, "resume": 2.0, "ask": 0.3}
FIRST = ("status", "resume")
REPEATS = 5
SHIM = Path(__file__).with_name("slow_files.c")


def specification(trials: int) -> dict[str, Any]:
    """A sweep of 40 studies that has so many trials."""
    slots = trials // (METHODS * DATASETS) - SEEDS
    return {
        "name": "scale",
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": {f"d{k}": {"dataset": "digits", "options": {"classes": [k, k + 1]}} for k in range(DATASETS)},
        "methods": {f"m{k}": {"method": "linear_probe"} for k in range(METHODS)},
        "train": {"epochs": 1, "image_size": 8, "precision": "fp32"},
        "search": {"trials": slots, "seeds": [0]},
        "confirm": {"seeds": SEEDS, "repeat": False, "vary": ["seed"]},
        "launch": {"kind": "local", "workers": 1},
    }


def studies_of(run: RunDirectory, roots: Roots) -> tuple[Any, list[Study]]:
    """The specification of a run and its studies."""
    from harness.plugins import discover
    from harness.spec.sections import SweepSpec

    spec = SweepSpec.model_validate(run.spec())
    return spec, Planner(spec, discover(), run, roots).studies()


def make(folder: Path, trials: int, roots: Roots) -> None:
    """Write a finished run."""
    from harness.spec.sections import SweepSpec

    run = RunDirectory(folder)
    run.create()
    run.write_spec(SweepSpec.model_validate(specification(trials)).model_dump(mode="json"))
    _, studies = studies_of(run, roots)
    for study in studies:
        study.folder.describe(study.description())
        _finish(study, random.Random(study.name))
    run.report.mkdir()
    plain_write(run.report_page, b"<!doctype html>")
    plain_write(run.report_state, results_state(run).encode())


def _finish(study: Study, rng: random.Random) -> None:
    best: tuple[float, dict[str, Value], int] = (-1.0, {}, 0)
    for slot in range(study.slots):
        asked = _drawn(study, rng)
        score = rng.random()
        best = max(best, (score, asked, slot), key=lambda entry: entry[0])
        _write(study, study.folder.search_trial(slot, 0), asked, slot, 0, score)
    score, chosen, slot = best
    name = configuration_hash(chosen)
    for seed in study.confirm_seeds:
        _write(study, study.folder.confirm_trial(name, seed), chosen, None, seed, rng.random())
    study.folder.choose(
        {"slot": slot, "metric": study.search.metric, "value": score, "hyperparameters": chosen,
         "configuration": name, "of": study.slots, "rule": study.search.choose}
    )  # fmt: skip


def _drawn(study: Study, rng: random.Random) -> dict[str, Value]:
    from harness.space.parameters import Float, defaults, searched

    varied = searched(study.space)
    drawn = {name: p.low * (p.high / p.low) ** rng.random() for name, p in varied.items() if isinstance(p, Float)}
    return {**defaults(study.space), **drawn}


def _write(
    study: Study, trial: TrialFolder, asked: dict[str, Value], slot: int | None, seed: int, score: float
) -> None:
    """The files of a finished trial, as large as a real one's."""
    trial.create()
    stage = trial.stage
    facts: dict[str, Any] = {"stage": stage, "slot": slot, "seed": seed, "hyperparameters": asked}
    facts["identity"] = study.trial_identity(stage, asked, seed)
    request = {"study": study.name, "conditioned_on": [], "threads": 1, **facts}
    result = finished_result(facts, score)
    line = {"epoch": 0, "step": 3, "train_loss": 0.5, "val": dict.fromkeys(general(), score)}
    lease = {"host": "h", "hostname": "h", "pid": 1, "process_started": 1.0, "claimed": 1.0, "released": "finished"}
    plain_write(trial.request_path, encode_json(request))
    plain_write(trial.curve_path, (json.dumps(line) + "\n").encode())
    plain_write(trial.path / "lease.0001", encode_json(lease))
    plain_write(trial.log_path, b"done\n")
    if stage == "confirm":
        plain_write(trial.predictions_path, b"PAR1" + bytes(100) + b"PAR1")
    plain_write(trial.result_path, encode_json(result))


def finished_result(facts: dict[str, Any], score: float) -> dict[str, Any]:
    """A result of real size, given what was asked: stage, slot, seed, hyperparameters, identity."""
    scores: dict[str, Any] = dict.fromkeys(general(), score)
    scores |= {"sensitivity": [score] * 4, "specificity": [score] * 4, "confusion": [[9] * 4] * 4, "support": [9] * 4}
    return {
        **facts, "status": "done", "cause": None, "message": None,
        "metrics": {"val": scores, **({"test": scores} if facts["stage"] == "confirm" else {})},
        "best_epoch": 0, "epochs": 1, "steps": 3,
        "parameters": {"trainable": 0, "head": 130, "total": 271954},
        "time": {"started": 1.0, "ended": 2.0, "attempt_seconds": 1.0, "train_seconds": 1.0},
        "memory": {"peak_bytes": 1}, "device": {"name": "cpu", "threads": 1},
        "spent": {"attempts": 1, "seconds": 1.0, "interrupted": 0, "died": 0, "lost_seconds": 0.0},
    }  # fmt: skip


def measure(run: RunDirectory, roots: Roots, steps: Sequence[str]) -> dict[str, float]:
    """Seconds of the plan and of each of some steps, in this process, with everything imported."""
    from harness.core.console import Console
    from harness.run.index import ResultIndex
    from harness.status.status import StatusReader
    from harness.sweep.prepare import fix
    from harness.work.scheduler import Scheduler

    started = time.perf_counter()
    spec, studies = studies_of(run, roots)
    assert not any(differences(study.folder.description()["identity"], study.identity) for study in studies)
    took = {"plan": time.perf_counter() - started}

    def timed(name: str, step: Callable[[], None]) -> None:
        started = time.perf_counter()
        step()
        took[name] = time.perf_counter() - started

    def status() -> None:
        found = StatusReader(run).read()
        assert found.overview.complete and found.report == "current"

    def resume() -> None:
        index = ResultIndex(run)
        with Path(os.devnull).open("w") as nowhere:
            fix(run, False, Console(file=nowhere), index)
        scheduler = Scheduler.of(run, spec, studies, index=index, plan=run.plan())
        scheduler.record()
        assert scheduler.complete() and scheduler.claim_next() is None

    def ask() -> None:
        study = studies[len(studies) // 2]
        (state,) = Scheduler.of(run, spec, [replace(study, slots=study.slots + 1)]).states
        assert state.ask(study.slots)

    if "ask" in steps:
        ask()  # what Optuna imports when it is asked first
    for name, step in (("status", status), ("resume", resume), ("ask", ask)):
        if name in steps:
            timed(name, step)
    return took


def looks(runs: Mapping[int, Path], roots: Roots, shim: Path | None) -> Iterator[dict[str, Any]]:
    """The first look at each run, and those that follow; the runs in turn, because growth is a ratio of theirs.

    Args:
        runs: by their numbers of trials.
    """
    first: dict[int, dict[str, float]] = {trials: {} for trials in runs}
    for name in FIRST:
        for trials, run in runs.items():
            # Once without counting, so that the system's cache is warm; without an index each time.
            for _ in range(2):
                RunDirectory(run).index_path.unlink(missing_ok=True)
                first[trials][name] = in_a_process(run, roots, shim, [name])[name]
    yield from ({"trials": trials, "look": "first", **took} for trials, took in first.items())
    found = [
        {trials: in_a_process(run, roots, shim, list(LIMITS)) for trials, run in runs.items()} for _ in range(REPEATS)
    ]
    for trials in runs:
        yield {"trials": trials, "look": "later", **{name: min(one[trials][name] for one in found) for name in LIMITS}}


def in_a_process(run: Path, roots: Roots, shim: Path | None, steps: Sequence[str]) -> dict[str, float]:
    """``measure`` in a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if shim is not None:
        environment |= {"LD_PRELOAD": str(shim), "SLOW_FILES": str(run), "SLOW_FILES_US": str(LATENCY_US)}
    command = [sys.executable, "-m", "benchmarks.scale", "--measure", str(run), str(roots.data), str(roots.cache)]
    done = subprocess.run([*command, "--steps", *steps], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compiled(folder: Path) -> Path | None:
    """The library that slows file operations down; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "slow_files.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


def compare(sizes: Sequence[int], report: Callable[[str], None]) -> dict[str, Any]:
    """Every size, fast and slow files."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="gpaf-scale-") as scratch:
        roots = Roots(default_data_root(), Path(scratch) / "cache")
        shim = compiled(Path(scratch))
        report("no C compiler, so slow files are not measured" if shim is None else "files: as they are, then slowed")
        runs = {trials: Path(scratch) / f"run{trials}" for trials in sizes}
        for trials, run in runs.items():
            make(run, trials, roots)
        for latency, library in ((0, None), (LATENCY_US, shim)):
            if latency and library is None:
                continue
            for row in looks(runs, roots, library):
                rows.append({"latency_us": latency, **row})
                steps = ", ".join(f"{name} {row[name]:.3f} s" for name in LIMITS if name in row)
                report(f"{row['trials']} trials, {latency} us, {row['look']} look: {steps}")
        # Opened and read: two operations a result.
        one_by_one = max(sizes) * 2 * LATENCY_US / 1e6
        report(f"reading {max(sizes)} results one after the other would take {one_by_one:.0f} s where files are slow")
    return {"rows": rows, "one_by_one": one_by_one, "limits": LIMITS, "problems": list(_problems(rows))}


def _problems(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    largest = max(row["trials"] for row in rows)
    for row in rows:
        # How long a slow file server takes to show each file once is its own affair.
        if row["trials"] == largest and not (row["latency_us"] and row["look"] == "first"):
            for name in LIMITS.keys() & row.keys():
                if row[name] > LIMITS[name]:
                    place = f"{largest} trials, {row['latency_us']} us, {row['look']} look"
                    yield f"{place}: {name} took {row[name]:.2f} s, allowed {LIMITS[name]} s"
    for latency, look in sorted({(row["latency_us"], row["look"]) for row in rows}):
        few, many = (row for row in rows if (row["latency_us"], row["look"]) == (latency, look))
        for name in LIMITS.keys() & few.keys():
            # An ask looks at one study, of which a tenth is there too.
            if many[name] > few[name] * many["trials"] / few["trials"]:
                yield f"{latency} us, {look} look: {name} grows faster than the number of trials"


def main() -> int:
    """Measure, print, and write ``results/scale.json``; 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--measure", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--steps", nargs="+", default=list(LIMITS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scale.json")
    arguments = parser.parse_args()
    if arguments.measure:
        run, data, cache = arguments.measure
        print(json.dumps(measure(RunDirectory(run), Roots(data, cache), arguments.steps)))
        return 0
    found = compare(SIZES, lambda line: print(line, flush=True))
    found["cores"] = os.cpu_count()
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    for problem in found["problems"]:
        print(problem)
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
