"""An Optuna storage, for optuna-dashboard and Optuna's own analyses.

A study for each method and dataset, with its searched slots as trials. The storage is a copy for looking at: the run
directory stays the truth, and a sweep never reads a storage.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from harness.core.identity import canonical_hash
from harness.export.addresses import sqlite_address
from harness.export.contract import Export, ExportedRun
from harness.export.optuna_storage import (
    Differs,
    drop_study,
    open_study,
    require_storage,
    set_facts,
    write_trial,
)
from harness.metrics.table import facts_of, known_metrics
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
    truth, and a sweep never reads a storage. In a storage of an earlier export, what is new is added; a study that says
    something else than the run is written again.
    """

    name = "optuna"
    updates = True
    follows = True

    def __init__(self) -> None:
        self._storage: Any = None
        self._slots: dict[str, dict[int, dict[str, ExportedTrial]]] = {}
        """Search trials by study, slot and name, of slots that are not finished."""
        self._complete: set[str] = set()
        """Studies of which nothing was left to write, neither trials nor a choice."""

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the storage or bring it up to date; says how to look at it."""
        sqlite = destination.suffix in SQLITE
        place = sqlite_address(destination) if sqlite else str(destination)
        if self._storage is None:
            self._storage = _opened(destination, place, sqlite)
        changed: set[str] = set()
        for trial in run.trials():
            changed.add(trial.study)
            number = trial.request["slot"]
            if trial.stage == "search" and number is not None:
                self._slots.setdefault(trial.study, {}).setdefault(number, {})[trial.name] = trial
        folders = run.directory.studies()
        for folder in folders:
            if folder.name in changed or folder.name not in self._complete:
                self._write(folder, run.name)
        return f"{destination}: {run.count} trials in {len(folders)} studies; optuna-dashboard {shlex.quote(place)}"

    def _write(self, folder: StudyFolder, run: str) -> None:
        facts = _Facts.of(folder, run)
        # In the order of their names, as they are listed.
        slots = {
            number: [trials[name] for name in sorted(trials)]
            for number, trials in self._slots.get(folder.name, {}).items()
        }
        try:
            study = open_study(self._storage, facts.name, facts.direction, facts.metric, facts.identity)
            for number in sorted(slots):
                write_trial(self._storage, study, _slot(number, slots[number], facts))
        except Differs:
            drop_study(self._storage, facts.name)
            study = open_study(self._storage, facts.name, facts.direction, facts.metric, facts.identity)
            slots = _slots(folder)
            for number in sorted(slots):
                write_trial(self._storage, study, _slot(number, slots[number], facts))
        set_facts(self._storage, study, facts.shown)
        ended = {number for number, trials in slots.items() if _results_are_in(trials, facts.seeds)}
        self._slots[folder.name] = {
            number: trials for number, trials in self._slots.get(folder.name, {}).items() if number not in ended
        }
        if facts.shown["chosen slot"] is not None and not self._slots[folder.name]:
            self._complete.add(folder.name)
        else:
            self._complete.discard(folder.name)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the storage says of a study beside its trials."""

    name: str
    metric: str
    direction: Literal["maximize", "minimize"]
    space: dict[str, Parameter]
    seeds: int
    """Tuning seeds of each slot."""
    identity: dict[str, str]
    """Which run's study it is, and which of those of one name."""
    shown: dict[str, str | int | None]

    @classmethod
    def of(cls, folder: StudyFolder, run: str) -> _Facts:
        description, chosen = folder.description(), folder.chosen()
        metric = str(description["identity"]["search"]["metric"])
        measured = facts_of(metric, known_metrics(description.get("metrics", ())), str(folder.description_path))
        return cls(
            name=folder.name,
            metric=metric,
            direction="maximize" if measured.higher_is_better else "minimize",
            space=from_json(description["space"]),
            seeds=len(description["search_seeds"]),
            identity={"run": run, "identity": canonical_hash(description["identity"])},
            shown={
                "method": description["method"],
                "dataset": description["dataset"],
                "chosen slot": None if chosen is None else chosen["slot"],
            },
        )


def _opened(destination: Path, place: str, sqlite: bool) -> optuna.storages.BaseStorage:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if destination.exists():
        require_storage(destination, sqlite)
    if sqlite:
        return optuna.storages.RDBStorage(place)
    return optuna.storages.JournalStorage(JournalFileBackend(place))


def _slots(folder: StudyFolder) -> dict[int, list[ExportedTrial]]:
    """All search trials of a study, by slot."""
    from harness.export.trials import trials_of

    slots: dict[int, list[ExportedTrial]] = {}
    for trial in trials_of(folder):
        number = trial.request["slot"]
        if trial.stage == "search" and number is not None:
            slots.setdefault(number, []).append(trial)
    return slots


def _results_are_in(trials: Sequence[ExportedTrial], seeds: int) -> bool:
    return sum(trial.result is not None for trial in trials) == seeds


def _slot(number: int, trials: Sequence[ExportedTrial], facts: _Facts) -> optuna.trial.FrozenTrial:
    """A slot as a trial of Optuna: the mean over its tuning seeds."""
    from optuna.trial import FrozenTrial, TrialState

    seeds, metric, varied = facts.seeds, facts.metric, searched(facts.space)
    asked = trials[0].request["hyperparameters"]
    results = [trial.result for trial in trials if trial.result is not None]
    statuses = {str(result["status"]) for result in results}
    value = None
    state = TrialState.RUNNING
    if _results_are_in(trials, seeds):
        found = [score_of(result["metrics"]["val"], metric) for result in results if result["status"] == "done"]
        scores = [score for score in found if score is not None]
        scored = len(scores) == seeds
        value = fmean(scores) if scored else None
        state = TrialState.COMPLETE if scored else TrialState.PRUNED if "pruned" in statuses else TrialState.FAIL
    started = [trial.started or trial.begun for trial in trials]
    ended = [trial.ended for trial in trials if trial.ended is not None]
    fixed = {name: chosen for name, chosen in asked.items() if name not in varied}
    seeds_of = [trial.request["seed"] for trial in trials]
    causes = [f"{result['cause']}: {result['message']}" for result in results if result["status"] == "failed"]
    return FrozenTrial(
        number=number, trial_id=number, state=state, value=value,
        datetime_start=datetime.fromtimestamp(min(started)),
        datetime_complete=_end(ended) if state.is_finished() else None,
        params={name: asked[name] for name in varied},
        distributions={name: _distribution(parameter) for name, parameter in varied.items()},
        user_attrs={"slot": number, "fixed": fixed, "seeds": seeds_of, "causes": causes},
        system_attrs={},
        intermediate_values=dict(_by_epoch(trials, metric)) if len(trials) == seeds else {},
    )  # fmt: skip


def _end(ended: Sequence[float]) -> datetime:
    return datetime.fromtimestamp(max(ended)) if ended else datetime.now()


def _by_epoch(trials: Sequence[ExportedTrial], metric: str) -> Iterator[tuple[int, float]]:
    """The metric by epoch, as far as every seed got: a mean over fewer would change when the next one begins."""
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
