"""Runs in whatever state a test wants, written without a training; and what the status command says of them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import made_up_records
import pytest

from harness.core.lease import Lease
from harness.launch.slurm.files import SlurmFiles
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder
from harness.run.trial import TrialFolder
from harness.spec.sections import SweepSpec
from harness.status import __main__ as status
from harness.status.status import StatusReader

EPOCHS = 10
SECONDS = 100.0
"""How long each made-up trial took."""


def make_run(
    path: Path, methods: Sequence[str], slots: int = 3, source: str | None = None, **confirm: Any
) -> RunDirectory:
    """A planned run of made-up studies on one dataset, of which nothing has begun."""
    weights = None if source is None else {"method": "teacher", "dataset": "digits", "train": {"epochs": 20}}
    spec = SweepSpec.model_validate(
        {
            "name": "made_up",
            "backbone": {"name": "resnet20", "weights": weights},
            "datasets": {"small": {"dataset": "digits"}},
            "methods": {label: {"method": label} for label in methods},
            "train": {"epochs": EPOCHS},
            "search": {"trials": slots, "seeds": [0], "metric": "nll"},
            "confirm": {"seeds": [1000, 1001], "repeat": False, **confirm},
        }
    )
    run = RunDirectory(path)
    run.create()
    for label in methods:
        described = made_up_records.study(
            label,
            backbone={"name": "resnet20", "weights": None if source is None else {"source": source}},
            search_slots=slots,
            identity={"search": {"metric": "nll"}, "train": {"epochs": EPOCHS}},
        )
        run.study(f"{label}@small").describe(described)
    run.write_spec(spec.model_dump(mode="json"))
    return run


def finish(trial: TrialFolder, score: float | None = 0.5, cause: str = "nan", message: str = "no number") -> None:
    """Finish a trial with a validation score, or let it fail."""
    lease = trial.claim()
    assert lease is not None
    outcome: dict[str, Any] = {"status": "failed", "cause": cause, "message": message}
    if score is not None:
        outcome = {"metrics": {"val": {"nll": score}}}
    time_taken = {"attempt_seconds": SECONDS, "train_seconds": SECONDS / 2}
    trial.finish(made_up_records.result(trial.stage, **outcome, time=time_taken))
    lease.release("finished")


def begin(trial: TrialFolder, epochs: int, age: float = 0.0, **facts: Any) -> Lease:
    """Let a worker of another host hold a trial."""
    lease = trial.claim(**facts)
    assert lease is not None
    lease.note(host="elsewhere", hostname="node7")
    trial.write_curve([made_up_records.epoch(number) for number in range(epochs)])
    heard = time.time() - age
    os.utime(lease.path, (heard, heard))
    return lease


def choose(study: StudyFolder, of: int) -> None:
    study.choose(made_up_records.choice(of=of))


def facts(run: RunDirectory) -> dict[str, Any]:
    """What ``--json`` says of a run."""
    return StatusReader(run).read().to_json()


def shown(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints."""
    assert status.main([str(run.path)]) == 0
    return capsys.readouterr().out


def slurm(run: RunDirectory, jobs: Mapping[str, Mapping[str, Any]], tasks: int = 0) -> SlurmFiles:
    """A run that was launched on Slurm: its jobs' own files, and an array that was submitted."""
    files = SlurmFiles(run)
    files.write_launch({"job_name": "made_up-1234", "workers": max(tasks, 1), "profile": {}})
    if tasks:
        files.record_submission("7", tasks)
    for job, content in jobs.items():
        path = files.job_path(job, content.get("restart", 0))
        files.write_job(path, {"job": job, "restart": 0, "host": "n1", "started": time.time(), **content})
        heard = time.time() - content.get("age", 0)
        os.utime(path, (heard, heard))
    return files
