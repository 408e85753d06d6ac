"""An MLflow tracking store in one SQLite file: an experiment for each study, a run for each trial."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from harness.export.addresses import sqlite_address
from harness.export.trials import ExportedTrial, all_trials
from harness.store import RunDirectory


def export(run: RunDirectory, destination: Path) -> str:
    """Write the store; says how to look at it."""
    from mlflow.tracking import MlflowClient

    place = sqlite_address(destination)
    client = MlflowClient(tracking_uri=place)
    experiments: dict[str, str] = {}
    count = 0
    for trial in all_trials(run):
        if trial.study not in experiments:
            artifacts = destination.with_name(f"{destination.name}.artifacts").as_uri()
            experiments[trial.study] = client.create_experiment(f"{run.path.name}: {trial.study}", artifacts)
        _write(client, experiments[trial.study], trial)
        count += 1
    return f"{destination}: {count} trials; mlflow ui --backend-store-uri {shlex.quote(place)}"


def _write(client: Any, experiment: str, trial: ExportedTrial) -> None:
    from mlflow.entities import Metric, Param, RunTag

    began = _milliseconds(trial.started)
    made = client.create_run(experiment, start_time=began, run_name=f"{trial.stage} {trial.name}")
    asked = {**trial.request["hyperparameters"], **{f"trial.{name}": value for name, value in trial.facts.items()}}
    metrics = [
        Metric(name, value, began, step) for step, scalars in trial.epochs() for name, value in scalars.items()
    ] + [Metric(f"final/{name}", value, began, 0) for name, value in trial.scores().items()]
    status = "RUNNING" if trial.result is None else str(trial.result["status"])
    parameters = [Param(name, str(value)) for name, value in asked.items()]
    client.log_batch(made.info.run_id, params=parameters, tags=[RunTag("status", status)])
    for start in range(0, len(metrics), 1000):
        client.log_batch(made.info.run_id, metrics=metrics[start : start + 1000])
    if trial.result is not None:
        word = "FINISHED" if status == "done" else "FAILED"
        client.set_terminated(made.info.run_id, status=word, end_time=_milliseconds(trial.ended))


def _milliseconds(seconds: float | None) -> int:
    return 0 if seconds is None else round(1000 * seconds)
