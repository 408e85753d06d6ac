"""A run directory as polars frames: one row a trial, an attempt, or an epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from analysis import costs
from harness.errors import RequestError
from harness.store import RunDirectory, TrialFolder

METRICS = ("accuracy", "balanced_accuracy", "auc", "macro_f1", "mcc", "kappa", "nll", "brier", "ece")
"""Scalar metrics of every finished trial; each is a column ``val_NAME`` and, after confirm, ``test_NAME``."""

_PLACE: dict[str, DataTypeClass] = {
    "trial": pl.String,  # path inside the run directory
    "method": pl.String,  # as labelled in the sweep file
    "dataset": pl.String,
    "stage": pl.String,
}
_TRIAL: dict[str, DataTypeClass] = {
    **_PLACE,
    "slot": pl.Int64,
    "seed": pl.Int64,
    "configuration": pl.String,  # hash of the hyperparameters (confirm)
    "chosen": pl.Boolean,  # whether it ran the configuration that the search chose
    "status": pl.String,  # done, failed, unfinished
    "cause": pl.String,
    "message": pl.String,
    "hyperparameters": pl.String,  # JSON, sorted keys
    "best_epoch": pl.Int64,
    "epochs": pl.Int64,
    "steps": pl.Int64,
    "trainable": pl.Int64,  # parameters that train, head not counted
    "head": pl.Int64,
    "total": pl.Int64,
    "train_seconds": pl.Float64,
    "peak_bytes": pl.Int64,
    "device": pl.String,
    "threads": pl.Int64,
    **costs.COLUMNS,
}
_ATTEMPT: dict[str, DataTypeClass] = {
    **_PLACE,
    "attempt": pl.Int64,
    "hostname": pl.String,
    "claimed": pl.Float64,
    "last_seen": pl.Float64,
    "seconds": pl.Float64,
    "has_result": pl.Boolean,  # the last attempt of a finished trial
}
_EPOCH: dict[str, DataTypeClass] = {
    "method": pl.String,
    "dataset": pl.String,
    "seed": pl.Int64,
    "epoch": pl.Int64,
    "value": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class _Entry:
    place: dict[str, Any]
    folder: TrialFolder
    chosen: Mapping[str, Any] | None


def trials(run: RunDirectory) -> pl.DataFrame:
    """One row a trial of every stage, in the order of the run directory.

    A trial without a result has the status ``unfinished``; its epochs are those of its curve so far. Metrics
    that a result leaves undefined are null.

    Raises:
        TornFileError: a file of the run directory is not readable.
    """
    schema: dict[str, DataTypeClass] = {
        **_TRIAL,
        **{f"{side}_{name}": pl.Float64 for side in ("val", "test") for name in METRICS},
    }
    return pl.DataFrame([_trial_row(entry) for entry in _entries(run)], schema=schema, orient="row")


def attempts(run: RunDirectory) -> pl.DataFrame:
    """One row an attempt on a trial, those that died included.

    ``seconds`` is the time from the claim to the last sign of life, null where the claim is unreadable. The
    two clocks may belong to two machines, so a negative difference counts as 0.
    """
    rows = []
    for entry in _entries(run):
        history = entry.folder.attempts()
        for number, attempt in enumerate(history, start=1):
            claimed, last_seen = attempt.get("claimed"), float(attempt["last_seen"])
            rows.append(
                {
                    **entry.place,
                    "attempt": number,
                    "hostname": attempt.get("hostname"),
                    "claimed": claimed,
                    "last_seen": last_seen,
                    "seconds": None if claimed is None else max(0.0, last_seen - float(claimed)),
                    "has_result": entry.folder.finished and number == len(history),
                }
            )
    return pl.DataFrame(rows, schema=_ATTEMPT, orient="row")


def curves(run: RunDirectory, metric: str) -> pl.DataFrame:
    """Validation ``metric`` by epoch (from 1) of every confirm trial of a chosen configuration that is done.

    Raises:
        RequestError: a curve is not readable.
    """
    rows = []
    for entry in _entries(run):
        folder = entry.folder
        if folder.stage != "confirm" or not _is_chosen(entry, {}) or not folder.finished:
            continue
        result = folder.result()
        if result.get("status") != "done":
            continue
        for number, line in enumerate(_curve(folder), start=1):
            rows.append(
                {
                    "method": entry.place["method"],
                    "dataset": entry.place["dataset"],
                    "seed": result.get("seed"),
                    "epoch": number,
                    "value": _finite((line.get("val") or {}).get(metric)),
                }
            )
    return pl.DataFrame(rows, schema=_EPOCH, orient="row")


def _entries(run: RunDirectory) -> Iterator[_Entry]:
    for folder in run.sources():
        yield _Entry(_place(run, folder, {}), folder, None)
    for study in run.studies():
        description, chosen = study.description(), study.chosen()
        for folder in (*study.trials("search"), *study.trials("confirm")):
            yield _Entry(_place(run, folder, description), folder, chosen)


def _place(run: RunDirectory, folder: TrialFolder, description: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trial": folder.path.relative_to(run.path).as_posix(),
        "method": description.get("label"),
        "dataset": description.get("dataset"),
        "stage": folder.stage,
    }


def _trial_row(entry: _Entry) -> dict[str, Any]:
    folder = entry.folder
    request = folder.request() if folder.has_request() else {}
    result = folder.result() if folder.finished else {}
    asked = {**request, **result}
    parameters, device = result.get("parameters") or {}, result.get("device") or {}
    row = {
        **entry.place,
        "slot": asked.get("slot"),
        "seed": asked.get("seed"),
        "configuration": _configuration(folder),
        "chosen": _is_chosen(entry, asked),
        "status": result.get("status", "unfinished"),
        "cause": result.get("cause"),
        "message": result.get("message"),
        "hyperparameters": json.dumps(asked.get("hyperparameters") or {}, sort_keys=True),
        "best_epoch": result.get("best_epoch"),
        "epochs": result["epochs"] if result.get("epochs") is not None else len(_curve(folder)),
        "steps": result.get("steps"),
        "trainable": parameters.get("trainable"),
        "head": parameters.get("head"),
        "total": parameters.get("total"),
        "train_seconds": (result.get("time") or {}).get("train_seconds"),
        "peak_bytes": (result.get("memory") or {}).get("peak_bytes"),
        "device": device.get("name"),
        "threads": device.get("threads"),
        **costs.recorded(result),
    }
    metrics = result.get("metrics") or {}
    for side in ("val", "test"):
        values = metrics.get(side) or {}
        row.update({f"{side}_{name}": _finite(values.get(name)) for name in METRICS})
    return row


def _configuration(folder: TrialFolder) -> str | None:
    return folder.name.rpartition("-s")[0] if folder.stage == "confirm" else None


def _is_chosen(entry: _Entry, asked: Mapping[str, Any]) -> bool:
    if entry.chosen is None:
        return False
    if entry.folder.stage == "confirm":
        return _configuration(entry.folder) == str(entry.chosen["configuration"])
    slot: int | None = asked.get("slot")
    return slot == int(entry.chosen["slot"])


def _curve(folder: TrialFolder) -> list[dict[str, Any]]:
    try:
        return folder.curve()
    except ValueError as error:
        raise RequestError(
            f"{folder.path}: its curve is torn or edited; `--repair` sets it aside and computes it again"
        ) from error


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
