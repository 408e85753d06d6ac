"""An Optuna storage that is brought up to date: what is new is added, through Optuna's own interface of storages."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.core.errors import RequestError

if TYPE_CHECKING:
    import optuna

RUN = "run"
"""User attribute of a study: the run that it is a copy of."""


class Differs(Exception):
    """The storage says of a study what the run does not say any more; nothing in a storage can be taken back."""


def require_storage(path: Path, sqlite: bool) -> None:
    """Refuse to write into what is no storage of Optuna's; cut the last line of a journal where it is torn.

    Raises:
        RequestError: there is something else.
    """
    if not (path.is_file() and (_is_database(path) if sqlite else _is_journal(path))):
        raise RequestError(f"{path}: exists already and is no storage of Optuna; choose another place")


def _is_database(path: Path) -> bool:
    try:
        # Opened for reading alone: a file of any other kind stays as it is.
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
            tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError:
        return False
    return {"studies", "trials"} <= tables


def _is_journal(path: Path) -> bool:
    with path.open("r+b") as file:
        first = file.readline()
        try:
            known = isinstance(json.loads(first), dict) and "op_code" in json.loads(first)
        except ValueError:
            # A full disk may have torn its first line, too.
            return not first
        if known:
            content = first + file.read()
            file.truncate(content.rfind(b"\n") + 1)
        return known


def open_study(
    storage: optuna.storages.BaseStorage,
    name: str,
    direction: Literal["maximize", "minimize"],
    metric: str,
    identity: Mapping[str, str],
) -> int:
    """The id of a study in the storage, which is made if it is not there.

    Args:
        storage: of Optuna.
        name: of the study.
        direction: of the metric.
        metric: that the search goes by.
        identity: what tells the study from others of its name, among it the ``RUN``.

    Raises:
        RequestError: a study of that name is no copy of this run.
        Differs: it is a copy of an earlier study of this name in the run.
    """
    import optuna

    try:
        study = storage.get_study_id_from_name(name)
    except KeyError:
        made = optuna.create_study(storage=storage, study_name=name, direction=direction)
        study = storage.get_study_id_from_name(name)
        for key, value in identity.items():
            storage.set_study_user_attr(study, key, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made.set_metric_names([f"validation {metric}"])
        return study
    known = storage.get_study_user_attrs(study)
    if known.get(RUN, identity[RUN]) != identity[RUN] or (RUN not in known and storage.get_n_trials(study)):
        raise RequestError(f"study {name}: is in the storage already and not of {identity[RUN]}; choose another place")
    if any(known.get(key) != value for key, value in identity.items()):
        raise Differs
    return study


def drop_study(storage: optuna.storages.BaseStorage, name: str) -> None:
    """Delete a study."""
    storage.delete_study(storage.get_study_id_from_name(name))


def set_facts(storage: optuna.storages.BaseStorage, study: int, facts: Mapping[str, str | int | None]) -> None:
    """Let the user attributes of a study be these."""
    known = storage.get_study_user_attrs(study)
    for name, value in facts.items():
        if name not in known or known[name] != value:
            storage.set_study_user_attr(study, name, value)


def write_trial(storage: optuna.storages.BaseStorage, study: int, wanted: optuna.trial.FrozenTrial) -> None:
    """Let the trial of a number be what is wanted, adding what is new.

    Raises:
        Differs: it says something that is not wanted.
    """
    from optuna.trial import TrialState, create_trial

    trials = storage.get_all_trials(study, deepcopy=False)
    while len(trials) < wanted.number:
        # Slots begin in any order, and a storage counts trials as they come.
        storage.create_new_trial(study, create_trial(state=TrialState.WAITING))
        trials = storage.get_all_trials(study, deepcopy=False)
    if len(trials) == wanted.number:
        storage.create_new_trial(study, wanted)
        return
    found = trials[wanted.number]
    _refuse_others(found, wanted)
    if found.state.is_finished():
        return
    trial = found._trial_id
    if found.state == TrialState.WAITING and wanted.state != TrialState.WAITING:
        storage.set_trial_state_values(trial, TrialState.RUNNING)
    for name, distribution in wanted.distributions.items():
        if name not in found.params:
            storage.set_trial_param(trial, name, distribution.to_internal_repr(wanted.params[name]), distribution)
    for key, attribute in wanted.user_attrs.items():
        if found.user_attrs.get(key) != attribute:
            storage.set_trial_user_attr(trial, key, attribute)
    for step, value in wanted.intermediate_values.items():
        if step not in found.intermediate_values:
            storage.set_trial_intermediate_value(trial, step, value)
    if wanted.state.is_finished():
        storage.set_trial_state_values(trial, wanted.state, wanted.values)


def _refuse_others(found: optuna.trial.FrozenTrial, wanted: optuna.trial.FrozenTrial) -> None:
    ended = found.state.is_finished()
    values, params = wanted.intermediate_values, wanted.params
    agrees = all(values.get(step) == value for step, value in found.intermediate_values.items()) and all(
        params.get(name) == value for name, value in found.params.items()
    )
    if ended:
        agrees = agrees and (found.state, found.values, found.user_attrs) == (
            wanted.state, wanted.values, wanted.user_attrs,
        )  # fmt: skip
        agrees = agrees and found.intermediate_values == values
    if not agrees:
        raise Differs
