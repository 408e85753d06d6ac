"""The trials behind a number of the report, from the files of a run alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, NotRequired, TypedDict

from harness.core.lease import LeaseRecord
from harness.pages.contents import NOT_AVAILABLE, Panel, device_in_words, number, ranges
from harness.run.cells import ConfirmTrial, confirm_trials, searches_by_cell, without_result
from harness.run.directory import RunDirectory
from harness.run.record_values import Configuration, Status, score_of
from harness.run.study_folder import StudyFolder
from harness.run.study_records import ChoiceRecord, StudyRecord
from harness.run.trial_records import scores_on

_COMMANDS = ("trace", "reproduce")


class TracedTrial(TypedDict):
    """A confirm trial behind a number, as ``trials_of`` tells it."""

    seed: int
    split: int | None
    configuration: str
    commit: str | None
    status: Status | Literal["unfinished", "absent"]
    cause: str | None
    message: str | None
    score: float | None
    hyperparameters: Configuration
    device: str | None
    threads: int | None
    host: str | None
    process: int | None
    job: str | None
    attempts: int
    seconds: float | None
    trial: str
    log: str


class TracedChoice(TypedDict):
    """What was chosen, as ``cell_of`` tells it."""

    slot: int
    value: float | None
    configuration: str
    hyperparameters: Configuration
    of: int
    conditioned_on: list[int] | None
    rule: NotRequired[str]
    expected: NotRequired[float | None]
    leader: NotRequired[str]
    """The cell whose search it is, where that is another."""


class TracedCell(TypedDict):
    """What leads from a number to what it was made of, as ``cell_of`` tells it."""

    cell: str
    metric: str
    plugin: str
    commit: str | None
    choices: list[TracedChoice]
    trials: list[TracedTrial]


def trials_of(run: RunDirectory, method: str, dataset: str) -> list[TracedTrial]:
    """The confirm trials behind one number, one for each replicate, by seed, ascending.

    Returns:
        For each: ``seed``; ``split``, where replicates draw their own; ``status`` (``done``, ``failed``,
        ``unfinished`` or ``absent``); ``cause`` and ``message`` of a failure; ``score``, the primary metric on the
        test split; ``configuration``, the hash of ``hyperparameters``; ``device`` and ``threads``; ``host``,
        ``process`` (its id there) and ``job`` (Slurm's) of the last attempt; ``attempts``, their number; ``seconds``
        of training; ``trial`` and ``log``, paths inside the run directory; ``commit`` that the run was launched from.
        What is not known is None. Empty while no configuration is chosen.

    Raises:
        TornFileError: a file of the run is not readable.
    """
    return _trials(run, searches_by_cell(run)[method, dataset], commit_of(run), metric_of(run))


def cell_of(run: RunDirectory, method: str, dataset: str) -> TracedCell:
    """Everything that leads from a number to what it was made of.

    Returns:
        ``cell``; ``metric``; ``plugin`` (name of the method); ``commit``; ``choices``, of each search that is complete:
        ``slot``, ``of`` (slots), ``value`` (validation score that it was chosen by), ``configuration``,
        ``hyperparameters``, ``conditioned_on`` (slots that the search knew when it asked for this one; None where
        that was not recorded), ``rule`` and ``expected`` (its score by that rule; only where another one than the best
        score has decided); and ``trials`` as ``trials_of`` gives them.

    Raises:
        TornFileError: a file of the run is not readable.
    """
    return _cell(run, searches_by_cell(run)[method, dataset])


def _cell(run: RunDirectory, searches: Sequence[StudyFolder]) -> TracedCell:
    commit, metric = commit_of(run), metric_of(run)
    return {
        "cell": searches[0].name,
        "metric": metric,
        "plugin": searches[0].description()["method"],
        "commit": commit,
        "choices": [choice for study in searches if (choice := _choice(study)) is not None],
        "trials": _trials(run, searches, commit, metric),
    }


def panels(run: RunDirectory) -> dict[str, Panel]:
    """What the page shows of each cell on a click: ``METHOD@DATASET`` → texts, ready to be shown.

    Returns:
        One for each cell with a chosen configuration, with the table of its trials. The commands say RUN where the
        run directory goes: the page may be read on another machine.

    Raises:
        TornFileError: a file of the run is not readable.
    """
    cells = [_cell(run, searches) for searches in searches_by_cell(run).values()]
    return {cell["cell"]: _panel(cell) for cell in cells if cell["choices"]}


def choice_in_words(choice: TracedChoice, metric: str) -> str:
    """How a configuration was chosen, in one sentence without its full stop."""
    of = f"{choice['of']} of {choice['leader']}" if "leader" in choice else str(choice["of"])
    told = f"slot {choice['slot']} of {of}, validation {metric.replace('_', ' ')} {number(choice['value'])}"
    if "expected" in choice:
        told += f", chosen by {choice['rule']}, which expects {number(choice['expected'])}"
    known = choice["conditioned_on"]
    if known is None:
        return told
    return f"{told}, asked for knowing " + (f"slots {ranges(known)}" if known else "nothing")


def plain(value: Any) -> str:
    """A hyperparameter as the tables of the report show it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def hyperparameters_in_words(values: Mapping[str, object]) -> str:
    """``name value, name value, …``, by name."""
    return ", ".join(f"{name} {plain(value)}" for name, value in sorted(values.items())) or "none"


def commit_of(run: RunDirectory) -> str | None:
    """The commit that the run was launched from, marked where files were changed; None where there is no record."""
    try:
        recorded = run.environment()
    except FileNotFoundError:
        return None
    commit = recorded.get("commit")
    return f"{commit} with uncommitted changes" if commit and recorded.get("dirty") else commit


def metric_of(run: RunDirectory) -> str:
    """The primary metric."""
    return str(run.spec()["search"]["metric"])


def _choice(study: StudyFolder) -> TracedChoice | None:
    description, chosen = study.description(), study.chosen()
    if chosen is None:
        return None
    choice: TracedChoice = {
        "slot": chosen["slot"],
        "value": chosen["value"],
        "configuration": chosen["configuration"],
        "hyperparameters": chosen["hyperparameters"],
        "of": description["search_slots"] or chosen["of"],
        "conditioned_on": _conditioned_on(study, chosen, description),
    }
    # Where the best score itself has decided there is no more to say.
    if "expected" in chosen:
        choice["rule"], choice["expected"] = chosen["rule"], chosen["expected"]
    if "leader" in chosen:
        choice["leader"] = chosen["leader"]
    return choice


def _trials(run: RunDirectory, searches: Sequence[StudyFolder], commit: str | None, metric: str) -> list[TracedTrial]:
    return [_trial(run, trial, commit, metric) for trial in confirm_trials(searches)]


def _trial(run: RunDirectory, trial: ConfirmTrial, commit: str | None, metric: str) -> TracedTrial:
    folder, chosen = trial.folder, trial.choice
    result = folder.result() if folder.finished else None
    request = folder.request() if folder.has_request() else None
    attempts = folder.attempts()
    last: LeaseRecord = attempts[-1] if attempts else {}
    device = None if result is None else result.get("device")
    time = None if result is None else result.get("time")
    asked = result or request
    return {
        "seed": trial.replicate.seed,
        "split": trial.replicate.split,
        "configuration": chosen["configuration"],
        "commit": commit,
        "status": without_result(folder) if result is None else result["status"],
        "cause": None if result is None else result.get("cause"),
        "message": None if result is None else result.get("message"),
        "score": None if result is None else _finite(score_of(scores_on(result, "test"), metric)),
        "hyperparameters": (asked and asked["hyperparameters"]) or chosen["hyperparameters"].copy(),
        "device": None if device is None else device["name"],
        "threads": None if device is None else device.get("threads"),
        "host": last.get("hostname"),
        "process": last.get("pid"),
        "job": last.get("slurm_job"),
        "attempts": len(attempts),
        "seconds": None if time is None else _finite(time["train_seconds"]),
        "trial": folder.path.relative_to(run.path).as_posix(),
        "log": folder.log_path.relative_to(run.path).as_posix(),
    }


def _conditioned_on(study: StudyFolder, chosen: ChoiceRecord, description: StudyRecord) -> list[int] | None:
    for seed in description["search_seeds"]:
        folder = study.search_trial(int(chosen["slot"]), seed)
        if folder.has_request():
            return folder.request()["conditioned_on"]
    return None


def configurations(cell: TracedCell) -> dict[str, Configuration]:
    """The different configurations of a cell's trials, in the order of these; without trials those that are chosen."""
    chosen = {choice["configuration"]: choice["hyperparameters"] for choice in cell["choices"]}
    trained = {trial["configuration"]: trial["hyperparameters"] for trial in cell["trials"]}
    return {name: chosen.get(name, values) for name, values in (trained or chosen).items()}


def _panel(cell: TracedCell) -> Panel:
    metric = cell["metric"].replace("_", " ")
    logs = sorted({PurePosixPath(trial["log"]).name for trial in cell["trials"]})

    def row(trial: TracedTrial) -> list[str]:
        status = trial["status"] if trial["cause"] is None else f"{trial['status']}: {trial['cause']}"
        return [
            str(trial["seed"]) if trial["split"] is None else f"{trial['seed']}, split {trial['split']}",
            number(trial["score"]),
            status,
            device_in_words(trial["device"], trial["threads"]),
            trial["host"] or NOT_AVAILABLE,
            NOT_AVAILABLE if trial["job"] is None else str(trial["job"]),
            str(trial["attempts"]),
            number(trial["seconds"], 1),
            trial["trial"],
        ]

    return {
        "facts": [
            *(
                ["Configuration", f"{name}: {hyperparameters_in_words(values)}"]
                for name, values in configurations(cell).items()
            ),
            *(["Chosen", choice_in_words(choice, metric)] for choice in cell["choices"]),
            ["Commit", cell["commit"] or NOT_AVAILABLE],
            ["Logs", f"{', '.join(logs)} in the folder of each trial"],
        ],
        "head": [
            "Seed", f"Test {metric}", "Status", "Device", "Host", "Job", "Attempts", "Training s", "Trial",
        ],
        "align": "rrllllrrl",
        "rows": [row(trial) for trial in cell["trials"]],
        "commands": [f"python -m analysis.{command} RUN {cell['cell']}" for command in _COMMANDS],
    }  # fmt: skip


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
