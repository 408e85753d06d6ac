"""A run directory as polars frames: one row a trial, an attempt, or an epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import polars as pl
from polars.datatypes import DataTypeClass

from harness.core.parallel import HERE, Pool
from harness.core.replicates import Replicate
from harness.metrics.table import known_metrics
from harness.run.directory import RunDirectory
from harness.run.record_values import Stage, score_of
from harness.run.spent import judged
from harness.run.study_folder import StudyFolder, confirmed
from harness.run.study_records import ChoiceRecord, StudyRecord, replicates_of
from harness.run.trial import TrialFolder
from harness.run.trial_records import Repeated, TrialRequest, TrialResult, sides_of

RowStage: TypeAlias = Stage | Literal["again", "repeat"]
"""Of a row: re-evaluations and repetitions have their own words here."""

Row: TypeAlias = dict[str, bool | int | float | str | None]
"""Column → value."""

_SORTED = json.JSONEncoder(sort_keys=True)
"""``json.dumps`` would make one for each trial."""

_PLACE: dict[str, DataTypeClass] = {
    "trial": pl.String,  # path inside the run directory
    "method": pl.String,  # as labelled in the sweep file
    "dataset": pl.String,
    "stage": pl.String,  # source, search, again (best slots on a further tuning seed), confirm, repeat
}
COSTS: dict[str, DataTypeClass] = {
    "own": pl.Int64,  # trained scalars that are neither of a norm nor of the head
    "norm": pl.Int64,
    "percent": pl.Float64,  # of the unchanged backbone's scalars, head not counted
    "storage_bytes": pl.Int64,
    "optimizer_bytes": pl.Int64,
    "multiply_adds": pl.Int64,
    "multiply_adds_before": pl.Int64,
}
"""What a trial's result holds under ``cost``, but for the head and the backbone; null in results without it."""
_TRIAL: dict[str, DataTypeClass] = {
    **_PLACE,
    "search_number": pl.Int64,  # which of several searches of its method on its dataset, from 0 on
    "slot": pl.Int64,
    "seed": pl.Int64,
    "split": pl.Int64,  # which of several splits (confirm, repeat); null where all share one
    "configuration": pl.String,  # hash of the hyperparameters (confirm, repeat)
    "chosen": pl.Boolean,  # whether it ran, on the split of its replicate, the configuration that the search chose
    "status": pl.String,  # done, pruned, failed, unfinished
    "cause": pl.String,
    "message": pl.String,
    "hyperparameters": pl.String,  # JSON, sorted keys
    "best_epoch": pl.Int64,
    "epochs": pl.Int64,
    "steps": pl.Int64,
    "trainable": pl.Int64,  # parameters that train, head not counted
    "head": pl.Int64,
    "total": pl.Int64,
    "on_features": pl.Boolean,  # the head alone was trained, on features that were computed once
    "train_seconds": pl.Float64,
    "peak_bytes": pl.Int64,
    "device": pl.String,
    "threads": pl.Int64,
    "deterministic": pl.Boolean,  # on kernels that torch calls deterministic; null in results from before they say so
    "not_deterministic": pl.String,  # operations that were used and have no such kernel, separated by commas
    **COSTS,
}
_ATTEMPT: dict[str, DataTypeClass] = {
    **_PLACE,
    "attempt": pl.Int64,
    "hostname": pl.String,
    "claimed": pl.Float64,
    "last_seen": pl.Float64,
    "seconds": pl.Float64,
    "has_result": pl.Boolean,  # the last attempt of a finished trial
    "outcome": pl.String,  # finished, interrupted, died, open
    "lost_seconds": pl.Float64,  # of one that died: work after its last checkpoint
}
_EPOCH: dict[str, DataTypeClass] = {
    "method": pl.String,
    "dataset": pl.String,
    "seed": pl.Int64,
    "epoch": pl.Int64,
    "value": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class Records:
    """Every trial of a run and every attempt on one, read at the same time."""

    trials: pl.DataFrame
    """One row a trial, as ``trials`` says."""
    attempts: pl.DataFrame
    """One row an attempt, as ``attempts`` says."""


def read(run: RunDirectory, pool: Pool = HERE) -> Records:
    """Read every trial folder of a run once.

    Args:
        run: the run directory.
        pool: processes that share its studies.

    Raises:
        TornFileError: a file of the run directory is not readable.
        RequestError: the curve of a trial without a result is not readable.
    """
    parts = [pool.submit(read_study, run, study) for study in run.studies()]
    return _joined([_records(run, run.sources(), "source", None, None), *(part() for part in parts)])


def trials(run: RunDirectory) -> pl.DataFrame:
    """One row a trial of every stage, in the order of the run directory: search, again, confirm, repeat.

    Each metric is a column ``val_NAME`` and, after confirm, ``test_NAME``.
    A trial without a result has the status ``unfinished``; its epochs are those of its curve so far. Metrics
    that a result leaves undefined are null.

    Raises:
        RequestError: as for ``read``.
    """
    return read(run).trials


def no_trials() -> pl.DataFrame:
    """The columns of ``trials`` without a row."""
    return pl.DataFrame(schema={**_TRIAL, **{column: pl.Float64 for column, _, _ in _columns(None)}})


def no_curves() -> pl.DataFrame:
    """The columns of ``curves`` without a row."""
    return pl.DataFrame(schema=_EPOCH)


def attempts(run: RunDirectory) -> pl.DataFrame:
    """One row an attempt on a trial, those that died included.

    ``seconds`` is the time from the claim to the last sign of life, null where the claim is unreadable. The
    two clocks may belong to two machines, so a negative difference counts as 0.

    Raises:
        RequestError: as for ``read``.
    """
    return read(run).attempts


def curves(run: RunDirectory, metric: str, known: pl.DataFrame | None = None) -> pl.DataFrame:
    """Validation ``metric`` by epoch (from 1) of every confirm trial of a chosen configuration that is done.

    Args:
        run: the run directory.
        metric: name of a validation metric.
        known: what ``trials`` returned, or those of its rows that are of interest, if that is at hand.

    Raises:
        RequestError: a curve is not readable, or as for ``read``.
    """
    shown = (trials(run) if known is None else known).filter(
        (pl.col("stage") == "confirm") & pl.col("chosen") & (pl.col("status") == "done")
    )
    columns: dict[str, list[Any]] = {name: [] for name in _EPOCH}
    for trial, *place in shown.select("trial", "method", "dataset", "seed").iter_rows():
        for number, line in enumerate(TrialFolder(run.path / trial, "confirm").curve(), start=1):
            for name, value in zip(_EPOCH, (*place, number, _finite(score_of(line["val"], metric))), strict=True):
                columns[name].append(value)
    return pl.DataFrame(columns, schema=_EPOCH)


def declared(run: RunDirectory) -> int:
    """Search and confirm trials that the studies of a run are to have.

    Raises:
        TornFileError: the description of a study is not readable.
    """
    described = [study.description() for study in run.studies()]
    return sum(int(one["search_slots"]) * len(one["search_seeds"]) + len(one["confirm_seeds"]) for one in described)


def read_study(run: RunDirectory, study: StudyFolder) -> Records:
    """Read every trial folder of one study.

    Raises:
        RequestError: as for ``read``.
    """
    description, chosen = study.description(), study.chosen()
    stages: dict[RowStage, list[TrialFolder]] = {
        "search": study.trials("search"), "again": study.reevaluations(), "confirm": study.trials("confirm"),
        "repeat": study.repeats(),
    }  # fmt: skip
    return _joined([_records(run, folders, stage, description, chosen) for stage, folders in stages.items()])


def _joined(parts: Sequence[Records]) -> Records:
    # A study that was set aside and planned anew may have metrics that others have not.
    trials = pl.concat([part.trials for part in parts], how="diagonal")
    return Records(trials, pl.concat([part.attempts for part in parts]))


def _records(
    run: RunDirectory,
    folders: Iterable[TrialFolder],
    stage: RowStage,
    description: StudyRecord | None,
    chosen: ChoiceRecord | None,
) -> Records:
    rows, tried, columns = [], [], _columns(description)
    wanted = _Wanted.of(description, chosen)
    number = 0 if description is None else description.get("search_number", 0)
    start = len(run.path.as_posix()) + 1
    for folder in folders:
        place = {
            "trial": folder.path.as_posix()[start:],
            "method": None if description is None else description["label"],
            "dataset": None if description is None else description["dataset"],
            "stage": stage,
        }
        result = _result(folder)
        rows.append({**place, "search_number": number, **_trial(folder, stage, result, wanted, columns)})
        tried += [{**place, **attempt} for attempt in _attempts(folder, result is not None)]
    return Records(
        pl.DataFrame(rows, schema={**_TRIAL, **{column: pl.Float64 for column, _, _ in columns}}, orient="row"),
        pl.DataFrame(tried, schema=_ATTEMPT, orient="row"),
    )


def _result(folder: TrialFolder) -> TrialResult | None:
    try:
        return folder.result()
    except FileNotFoundError:
        return None


def _attempts(folder: TrialFolder, finished: bool) -> Iterator[Row]:
    history = folder.attempts()
    for number, (attempt, used) in enumerate(zip(history, judged(history, finished), strict=True), start=1):
        claimed, last_seen = attempt.get("claimed"), float(attempt["last_seen"])
        yield {
            "attempt": number,
            "hostname": attempt.get("hostname"),
            "claimed": claimed,
            "last_seen": last_seen,
            "seconds": None if claimed is None else max(0.0, last_seen - float(claimed)),
            "has_result": finished and number == len(history),
            "outcome": used.outcome,
            "lost_seconds": used.lost_seconds,
        }


def _columns(description: StudyRecord | None) -> list[tuple[str, str, str]]:
    """Column, side and metric of each scalar metric that a trial of a study has."""
    names = known_metrics(description.get("metrics", ()) if description is not None else ())
    return [(f"{side}_{name}", side, name) for side in ("val", "test") for name in names]


def _trial(
    folder: TrialFolder,
    stage: RowStage,
    result: TrialResult | None,
    wanted: _Wanted,
    columns: Sequence[tuple[str, str, str]],
) -> Row:
    asked: Repeated | TrialRequest | None = result
    if result is None and folder.has_request():
        asked = folder.request()
    tests = stage in ("confirm", "repeat")
    confirm = confirmed(folder.name) if tests else None
    slot = None if asked is None else asked["slot"]
    return {
        "slot": slot,
        "seed": None if asked is None else asked["seed"],
        "split": None if confirm is None else confirm[1].split,
        "configuration": None if confirm is None else confirm[0],
        "chosen": wanted.confirms(*confirm) if confirm is not None else not tests and wanted.took(slot),
        "hyperparameters": _SORTED.encode({} if asked is None else asked["hyperparameters"]),
        "not_deterministic": "",
        **({"status": "unfinished", "epochs": len(folder.curve())} if result is None else _outcome(folder, result)),
        **({} if result is None else _scores(result, columns)),
    }


def _scores(result: TrialResult, columns: Sequence[tuple[str, str, str]]) -> Row:
    sides = dict(sides_of(result))
    return {column: _finite(sides[side].get(name)) for column, side, name in columns if side in sides}


def _outcome(folder: TrialFolder, result: TrialResult) -> Row:
    row: Row = {
        "status": result["status"],
        "cause": result.get("cause"),
        "message": result.get("message"),
        "best_epoch": result.get("best_epoch"),
        "epochs": result["epochs"] if "epochs" in result else len(folder.curve()),
        "steps": result.get("steps"),
        "on_features": result.get("on_features"),
        **_costs(result),
    }
    if "parameters" in result:
        counts = result["parameters"]
        row |= {"trainable": counts["trainable"], "head": counts["head"], "total": counts["total"]}
    if "time" in result:
        row["train_seconds"] = result["time"]["train_seconds"]
    if "memory" in result:
        row["peak_bytes"] = result["memory"]["peak_bytes"]
    if "device" in result:
        device = result["device"]
        row |= {"device": device["name"], "threads": device.get("threads")}
        row |= {"deterministic": device.get("deterministic")}
        row |= {"not_deterministic": ", ".join(device.get("not_deterministic", ()))}
    return row


def _costs(result: TrialResult) -> Row:
    cost = result.get("cost", {})
    return {name: cost.get(name) for name in COSTS}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a search chose."""

    slot: int | None = None
    configuration: str | None = None
    """Of every replicate; None where nothing is chosen, or each has its own."""
    splits: Mapping[int, int | None] = field(default_factory=dict)
    """Seed → split, of the replicates of the study."""
    own: Mapping[int, str] = field(default_factory=dict)
    """Seed → configuration, where each replicate has its own."""

    @classmethod
    def of(cls, description: StudyRecord | None, chosen: ChoiceRecord | None) -> _Wanted:
        if description is None or chosen is None:
            return cls()
        splits = {one.seed: one.split for one in replicates_of(description)}
        own = {int(seed): one["configuration"] for seed, one in chosen.get("replicates", {}).items()}
        return cls(chosen["slot"], None if own else chosen["configuration"], splits, own)

    def took(self, slot: int | None) -> bool:
        """Whether a search trial is of the chosen slot."""
        return slot is not None and slot == self.slot

    def confirms(self, configuration: str, replicate: Replicate) -> bool:
        """Whether a confirm trial is of a chosen configuration and, if its replicate is known, on that one's split."""
        if replicate.split != self.splits.get(replicate.seed, replicate.split):
            return False
        return configuration == self.own.get(replicate.seed, self.configuration)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
