"""An MLflow tracking store in one SQLite file: an experiment for each study, a run for each trial.

A store that is there already is brought up to date: what has not changed stays, what has is replaced.
"""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import RequestError
from harness.export.addresses import sqlite_address
from harness.export.contract import Export, ExportedRun

if TYPE_CHECKING:
    from harness.export.trials import ExportedTrial

TRIAL, STATE = "gpaf_bench.trial", "gpaf_bench.state"
"""Tags of a run: which trial it is, and what was known of it."""


class MLflow(Export):
    """An SQLite file for `mlflow ui --backend-store-uri sqlite:///DEST`, or a store that is brought up to date.

    An experiment for each study, a run for each trial. In a store that exists already, what has not changed stays,
    what has is replaced.
    """

    name = "mlflow"
    updates = True

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the store or bring it up to date; says how to look at it."""
        from mlflow.tracking import MlflowClient

        if destination.exists():
            _require_store(destination)
        place = sqlite_address(destination)
        client = MlflowClient(tracking_uri=place)
        experiments: dict[str, str] = {}
        count = 0
        for trial in run.trials():
            if trial.study not in experiments:
                experiments[trial.study] = _experiment(client, f"{run.name}: {trial.study}", destination)
            _write(client, experiments[trial.study], trial)
            count += 1
        return f"{destination}: {count} trials; mlflow ui --backend-store-uri {shlex.quote(place)}"


def _require_store(path: Path) -> None:
    """Refuse to write into what is no store of MLflow's."""
    tables: set[str] = set()
    if path.is_file():
        try:
            # Opened for reading alone: a file of any other kind stays as it is.
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
                tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
        except sqlite3.DatabaseError:
            tables = set()
    if not {"experiments", "runs"} <= tables:
        raise RequestError(f"{path}: exists already and is no store of MLflow; choose another place")


def _experiment(client: Any, name: str, destination: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, destination.with_name(f"{destination.name}.artifacts").as_uri()))


def _write(client: Any, experiment: str, trial: ExportedTrial) -> None:
    from mlflow.entities import Metric, Param, RunTag

    for earlier in client.search_runs([experiment], filter_string=f"tags.`{TRIAL}` = '{trial.stable_id}'"):
        if earlier.data.tags.get(STATE) == trial.state:
            return
        client.delete_run(earlier.info.run_id)
    began = _milliseconds(trial.started or trial.begun)
    made = client.create_run(experiment, start_time=began, run_name=f"{trial.stage} {trial.name}")
    asked = {**trial.request["hyperparameters"], **{f"trial.{name}": value for name, value in trial.facts.items()}}
    ended = _milliseconds(trial.ended or trial.begun)
    metrics = [
        Metric(name, value, _milliseconds(moment), step)
        for moment, (step, scalars) in zip(trial.epoch_ends, trial.epochs(), strict=True)
        for name, value in scalars.items()
    ] + [Metric(f"final/{name}", value, ended, 0) for name, value in trial.scores().items()]
    status = "RUNNING" if trial.result is None else str(trial.result["status"])
    parameters = [Param(name, str(value)) for name, value in asked.items()]
    tags = [RunTag("status", status), RunTag(TRIAL, trial.stable_id)]
    client.log_batch(made.info.run_id, params=parameters, tags=tags)
    for start in range(0, len(metrics), 1000):
        client.log_batch(made.info.run_id, metrics=metrics[start : start + 1000])
    if trial.result is not None:
        word = "FINISHED" if status == "done" else "FAILED"
        client.set_terminated(made.info.run_id, status=word, end_time=ended)
    # Last: a run without it was cut off, and is written again.
    client.set_tag(made.info.run_id, STATE, trial.state)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
