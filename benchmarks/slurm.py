"""What the Slurm launcher costs beside plain submitit: ``python -m benchmarks.slurm``.

On one little Slurm cluster, in turns: our job, and submitit alone running a function that does the same trainings one
after the other. Both begin with a planned run directory and decoded images, are submitted from the login node, run one
training at a time and write the same results. Compared are the time from the submission to the end of the first
training step, and the time a training takes with all that lies between it and the next.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from benchmarks.startup import PLUGIN
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.data.cache import default_cache_root, default_data_root
from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.run.trial_records import TrialRequest
from harness.studies.loading import load_mapping
from harness.studies.planner import Planner
from harness.studies.study import Roots
from slurm.cluster import LittleCluster, obstacle
from slurm.cluster.processes import wait_until

RESULT = Path(__file__).parent / "results" / "slurm.json"
LIMIT = 1.2
TRIALS = 8
MINUTES = 10

SWEEP: dict[str, Any] = {
    "backbone": {"name": "resnet20", "weights": None},
    "datasets": [{"small": {"dataset": "digits", "classes": [7, 8, 9]}}],
    "methods": ["stamped"],
    "train": {"epochs": 10, "batch_size": 32, "image_size": 16},
    "search": {"trials": TRIALS, "startup": TRIALS, "concurrency": TRIALS, "sampler": "random"},
    "confirm": {"seeds": 1, "repeat": False},
}


def plain(run_dir: str) -> None:
    """What a user of submitit alone would submit: the trainings in a loop, without claims, leases or logs."""
    import torch

    from harness.space.parameters import defaults
    from harness.train.job import Control, TrialJob
    from harness.train.run import run_trial
    from harness.work.worker import load_studies

    torch.set_num_threads(1)
    _, studies = load_studies(RunDirectory(Path(run_dir)), Roots(default_data_root(), default_cache_root()))
    study = studies[0]
    job = TrialJob(
        stage="search",
        method=study.method.cls,
        hyperparameters=defaults(study.space),
        backbone=study.backbone,
        weights=study.weights,
        dataset=study.dataset.dataset,
        data=study.dataset.data,
        split=study.dataset.split,
        train=study.train,
        metric=study.search.metric,
        seed=0,
    )
    for folder in search_trials(RunDirectory(Path(run_dir))):
        folder.create()
        request: TrialRequest = {
            "stage": "search",
            "slot": None,
            "seed": 0,
            "hyperparameters": dict(job.hyperparameters),
            "conditioned_on": [],
            "threads": torch.get_num_threads(),
            "identity": "",
        }
        run_trial(job, request, folder, torch.device("cpu"), Control())


def submit(side: str, run_dir: Path) -> None:
    """Submit one side's job, from the login node, and note when."""
    begun = time.time()
    if side == "plain":
        import submitit

        executor = submitit.SlurmExecutor(run_dir / "submitit")
        executor.update_parameters(time=MINUTES, cpus_per_task=1)
        executor.submit(plain, str(run_dir))
    else:
        from harness.launch.slurm.files import ProfileFacts, SlurmFiles
        from harness.launch.slurm.job import run_worker
        from harness.launch.slurm.profile import Profile
        from harness.launch.slurm.submit import job_name, top_up
        from harness.run.code import take_snapshot

        run = RunDirectory(run_dir)
        profile = Profile(time=MINUTES, cpus=1, grace=10, device="cpu")
        SlurmFiles(run).write_launch(
            {
                "job_name": job_name("benchmark"),
                "workers": 1,
                "threads": 1,
                "trials_per_device": 1,
                "profile": cast(ProfileFacts, profile.model_dump(mode="json")),
                "roots": {"data": os.environ["GPAF_BENCH_DATA"], "cache": os.environ["GPAF_BENCH_CACHE"]},
                "datasets": [],
                "folder": str(Path.cwd()),
                "code": str(run.code_folder()),
            }
        )
        run.set_current_code(take_snapshot(run, []).name)
        top_up(run, claimable=1, work=run_worker)
    (run_dir / "submitted.json").write_text(json.dumps(begun))


def search_trials(run: RunDirectory) -> list[TrialFolder]:
    """The trainings that are timed."""
    return [run.study("stamped@small").search_trial(slot, 0) for slot in range(TRIALS)]


def plan(folder: Path) -> Path:
    """Plan a study in a new run directory; returns the file in which a training notes the end of its first step."""
    plugins, stamps = folder / "plugins", folder / "stamps"
    plugins.mkdir(parents=True)
    text = PLUGIN.replace("context.step == 0", "context.step == 1").format(stamps=str(stamps))
    (plugins / "stamped.py").write_text(text)
    spec = load_mapping({"name": "benchmark", "plugins": [str(plugins)], **SWEEP}, []).spec
    run = RunDirectory(folder)
    run.write_spec(spec.model_dump(mode="json"))
    roots = Roots(default_data_root(), default_cache_root())
    for study in Planner(spec, discover([plugins]), run, roots).studies():
        study.folder.describe(study.description())
    return stamps


def timed(cluster: LittleCluster, side: str, folder: Path, environment: dict[str, str]) -> dict[str, float]:
    """Seconds from the submission to the end of the first step, and a training.

    Raises:
        RequestError: the job was not submitted, or did not end.
    """
    stamps = plan(folder)
    command = [sys.executable, "-m", "benchmarks.slurm", "--submit", side, "--run-dir", str(folder)]
    done = cluster.run(command, environment=environment, timeout=120)
    if done.returncode != 0:
        raise RequestError(f"the job of {side} was not submitted: {done.stderr.strip()[-500:]}")
    trials = search_trials(RunDirectory(folder))
    if not wait_until(lambda: all(trial.finished for trial in trials), 60.0 * MINUTES):
        raise RequestError(f"the job of {side} did not end within {MINUTES} minutes; see {folder}")
    # Whatever comes after (confirmation, report) is not compared.
    cluster.run(["scancel", "--signal=KILL", "--full", "--user=root"])
    cluster.run(["scancel", "--user=root"])
    wait_until(lambda: not cluster.run(["squeue", "--noheader"]).stdout.strip(), 60)
    times = [trial.result()["time"] for trial in trials]
    started, ended = (sorted(float(entry[name]) for entry in times) for name in ("started", "ended"))
    submitted = float(json.loads((folder / "submitted.json").read_text()))
    first = float(stamps.read_text().split()[0])
    return {"first_step": first - submitted, "training": (ended[-1] - started[0]) / TRIALS}


def measure(rounds: int) -> dict[str, Any]:
    """Both sides in turns; medians and their ratios.

    Raises:
        RequestError: no cluster can run here.
    """
    missing = obstacle()
    if missing is not None:
        raise RequestError(f"no little cluster can run here: {missing}")
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory(prefix="gpaf-slurm-") as scratch, LittleCluster() as cluster:
        os.environ["GPAF_BENCH_CACHE"] = os.environ["GPAF_BENCH_DATA"] = str(Path(scratch) / "cache")
        own = {name: os.environ[name] for name in ("GPAF_BENCH_CACHE", "GPAF_BENCH_DATA")}
        own |= {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
        for number in range(rounds + 1):
            for side in ("ours", "plain") if number % 2 else ("plain", "ours"):
                figures = timed(cluster, side, Path(scratch) / f"{side}{number}", own)
                print(number or "warm-up", side, {name: round(value, 2) for name, value in figures.items()}, flush=True)
                if number > 0:
                    seen[side].append(figures)
    ratios = {}
    for name in ("first_step", "training"):
        pairs = [ours[name] / plain[name] for ours, plain in zip(seen["ours"], seen["plain"], strict=True)]
        ratios[name] = {"median": statistics.median(pairs), "lowest": min(pairs), "highest": max(pairs)}
    load = os.getloadavg()[0]
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(load, 1)}
    return {"command": f"python -m benchmarks.slurm --rounds {rounds}", "limit": LIMIT, "ratios": ratios, **machine}


def main() -> int:
    """Entry point; exit code 1 where a ratio is above its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slurm", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="pairs of jobs (default: %(default)s)")
    parser.add_argument("--submit", choices=("ours", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--run-dir", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    def command() -> int:
        if arguments.submit is not None:
            submit(arguments.submit, arguments.run_dir)
            return EXIT_DONE
        result = measure(arguments.rounds)
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result["ratios"], indent=2))
        return EXIT_DONE if all(r["median"] <= LIMIT for r in result["ratios"].values()) else EXIT_SOME_FAILED

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
