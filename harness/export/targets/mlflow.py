"""An MLflow tracking store in one SQLite file: an experiment for each study, a run for each trial.

A store that is there already is brought up to date: what is new is added to the run of its trial.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
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

    An experiment for each study, a run for each trial. In a store that exists already, what is new is added to the run
    of its trial; a run that says something else than its trial is replaced.
    """

    name = "mlflow"
    updates = True
    follows = True

    def __init__(self) -> None:
        self._client: Any = None
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, Any] = {}
        """MLflow's run of each trial, by its id, as it was last read or written."""

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the store or bring it up to date; says how to look at it."""
        from mlflow.tracking import MlflowClient

        place = sqlite_address(destination)
        if self._client is None:
            if destination.exists():
                _require_store(destination)
            self._client = MlflowClient(tracking_uri=place)
        for trial in run.trials():
            if trial.study not in self._experiments:
                experiment = _experiment(self._client, f"{run.name}: {trial.study}", destination)
                self._experiments[trial.study] = experiment
                self._runs |= {
                    known.data.tags[TRIAL]: known
                    for known in _runs(self._client, experiment)
                    if TRIAL in known.data.tags
                }
            known = self._runs.get(trial.stable_id)
            if known is None or known.data.tags.get(STATE) != trial.state:
                self._runs[trial.stable_id] = _write(self._client, self._experiments[trial.study], trial, known)
        return f"{destination}: {run.count} trials; mlflow ui --backend-store-uri {shlex.quote(place)}"


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


def _runs(client: Any, experiment: str) -> Iterator[Any]:
    """Every run of an experiment."""
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _write(client: Any, experiment: str, trial: ExportedTrial, known: Any) -> Any:
    """Bring the run of a trial up to date; returns it.

    Args:
        client: MLflow's.
        experiment: its id.
        trial: what the run is to say.
        known: the run that there is; None where there is none.
    """
    from mlflow.entities import Metric, Param, RunTag

    ended = _milliseconds(trial.ended or trial.begun)
    metrics = [
        Metric(name, value, _milliseconds(moment), step)
        for moment, (step, scalars) in zip(trial.epoch_ends, trial.epochs(), strict=True)
        for name, value in scalars.items()
    ] + [Metric(f"final/{name}", value, ended, 0) for name, value in trial.scores().items()]
    written: set[tuple[str, int, float]] = set()
    if known is not None:
        # What was cut off may have more than its state says.
        written = {_point(one) for name in known.data.metrics for one in client.get_metric_history(_id(known), name)}
        if not written <= {_point(one) for one in metrics}:
            # Points cannot be taken back: an attempt that was repeated has come to others.
            client.delete_run(_id(known))
            known, written = None, set()
    if known is None:
        began = _milliseconds(trial.started or trial.begun)
        tags = {TRIAL: trial.stable_id}
        known = client.create_run(experiment, start_time=began, run_name=f"{trial.stage} {trial.name}", tags=tags)
    asked = {**trial.request["hyperparameters"], **{f"trial.{name}": value for name, value in trial.facts.items()}}
    status = "RUNNING" if trial.result is None else str(trial.result["status"])
    parameters = [Param(name, str(value)) for name, value in asked.items() if name not in known.data.params]
    client.log_batch(_id(known), params=parameters, tags=[RunTag("status", status)])
    new = [one for one in metrics if _point(one) not in written]
    for start in range(0, len(new), 1000):
        client.log_batch(_id(known), metrics=new[start : start + 1000])
    if trial.result is not None:
        word = "FINISHED" if status == "done" else "FAILED"
        client.set_terminated(_id(known), status=word, end_time=ended)
    # Last: a run without it was cut off, and is brought up to date again.
    client.set_tag(_id(known), STATE, trial.state)
    return client.get_run(_id(known))


def _id(run: Any) -> str:
    return str(run.info.run_id)


def _point(metric: Any) -> tuple[str, int, float]:
    """What a point says, apart from when it was written."""
    return metric.key, metric.step, metric.value


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
