"""An Optuna storage, for optuna-dashboard and Optuna's own analyses.

A study for each method and dataset, with its searched slots as trials. The storage is a copy for looking at: the run
directory stays the truth, and a sweep never reads a storage.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from harness.export.addresses import sqlite_address
from harness.export.contract import Export, ExportedRun
from harness.run.record_values import score_of
from harness.space.parameters import Choice, Float, Int, from_json, searched

if TYPE_CHECKING:
    import optuna

    from harness.export.trials import ExportedTrial
    from harness.run.study_folder import StudyFolder
    from harness.space.parameters import Parameter

SQLITE = (".db", ".sqlite", ".sqlite3")


class OptunaStorage(Export):
    """A study of Optuna for each method and dataset: a journal file, or SQLite where DEST ends in .db.

    For optuna-dashboard and Optuna's own analyses. The storage is a copy for looking at: the run directory stays the
    truth, and a sweep never reads a storage.
    """

    name = "optuna"

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the storage; says how to look at it."""
        import optuna
        from optuna.storages.journal import JournalFileBackend
        from rich.progress import track

        from harness.core.console import Console

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if destination.suffix in SQLITE:
            place = sqlite_address(destination)
            storage: optuna.storages.BaseStorage = optuna.storages.RDBStorage(place)
        else:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(destination)))
            place = str(destination)
        count = 0
        studies = run.directory.studies()
        for folder in track(studies, "studies", console=Console(stderr=True), transient=True):
            count += _study(storage, folder)
        return f"{destination}: {count} trials in {len(studies)} studies; optuna-dashboard {shlex.quote(place)}"


def _study(storage: optuna.storages.BaseStorage, folder: StudyFolder) -> int:
    import optuna

    from harness.export.trials import trials_of
    from harness.metrics.table import facts_of, known_metrics

    description = folder.description()
    metric, space = str(description["identity"]["search"]["metric"]), from_json(description["space"])
    measured = facts_of(metric, known_metrics(description.get("metrics", ())), str(folder.description_path))
    direction: Literal["maximize", "minimize"] = "maximize" if measured.higher_is_better else "minimize"
    study = optuna.create_study(storage=storage, study_name=folder.name, direction=direction)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([f"validation {metric}"])
    chosen = folder.chosen()
    facts = {
        "method": description["method"],
        "dataset": description["dataset"],
        "chosen slot": None if chosen is None else chosen["slot"],
    }
    for name, value in facts.items():
        study.set_user_attr(name, value)
    slots: dict[int, list[ExportedTrial]] = {}
    for trial in trials_of(folder):
        number = trial.request["slot"]
        if trial.stage == "search" and number is not None:
            slots.setdefault(number, []).append(trial)
    seeds = len(description["search_seeds"])
    study.add_trials([_slot(number, slots[number], seeds, space, metric) for number in sorted(slots)])
    return len(slots)


def _slot(
    number: int, trials: Sequence[ExportedTrial], seeds: int, space: dict[str, Parameter], metric: str
) -> optuna.trial.FrozenTrial:
    """A slot as a trial of Optuna: the mean over its tuning seeds."""
    from optuna.trial import FrozenTrial, TrialState

    varied = searched(space)
    asked = trials[0].request["hyperparameters"]
    results = [trial.result for trial in trials if trial.result is not None]
    statuses = {str(result["status"]) for result in results}
    value = None
    state = TrialState.RUNNING
    if len(results) == seeds:
        found = [score_of(result["metrics"]["val"], metric) for result in results if result["status"] == "done"]
        scores = [score for score in found if score is not None]
        scored = len(scores) == seeds
        value = fmean(scores) if scored else None
        state = TrialState.COMPLETE if scored else TrialState.PRUNED if "pruned" in statuses else TrialState.FAIL
    started = [trial.started for trial in trials if trial.started is not None]
    ended = [trial.ended for trial in trials if trial.ended is not None]
    fixed = {name: chosen for name, chosen in asked.items() if name not in varied}
    seeds_of = [trial.request["seed"] for trial in trials]
    causes = [f"{result['cause']}: {result['message']}" for result in results if result["status"] == "failed"]
    return FrozenTrial(
        number=number, trial_id=number, state=state, value=value,
        datetime_start=datetime.fromtimestamp(min(started)) if started else datetime.now(),
        datetime_complete=_end(ended) if state.is_finished() else None,
        params={name: asked[name] for name in varied},
        distributions={name: _distribution(parameter) for name, parameter in varied.items()},
        user_attrs={"slot": number, "fixed": fixed, "seeds": seeds_of, "causes": causes},
        system_attrs={},
        intermediate_values=dict(_by_epoch(trials, metric)),
    )  # fmt: skip


def _end(ended: Sequence[float]) -> datetime:
    return datetime.fromtimestamp(max(ended)) if ended else datetime.now()


def _by_epoch(trials: Sequence[ExportedTrial], metric: str) -> Iterator[tuple[int, float]]:
    """The metric by epoch, as far as every seed got."""
    curves = [[line["val"].get(metric) for line in trial.curve] for trial in trials]
    for epoch, values in enumerate(zip(*curves, strict=False)):
        if None not in values:
            yield epoch, fmean(values)


def _distribution(parameter: Parameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Float):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Int):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log)
    assert isinstance(parameter, Choice)
    return CategoricalDistribution(parameter.choices)
