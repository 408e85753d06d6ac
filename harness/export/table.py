"""All trials of a run as one table."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from harness.run.directory import RunDirectory
from harness.run.frames import trials
from harness.space.parameters import Value


def table(run: RunDirectory) -> pl.DataFrame:
    """One row a trial, as ``harness.run.frames`` reads them, with a column ``hp_NAME`` for each hyperparameter.

    A hyperparameter that is a number in every method that has it stays one, others become text; where a method does not
    have it, it is null.

    Raises:
        TornFileError: a file of a trial is not readable.
    """
    frame = trials(run)
    asked: list[dict[str, Value]] = [json.loads(text) if text else {} for text in frame["hyperparameters"]]
    columns = []
    for name in sorted({name for hyperparameters in asked for name in hyperparameters}):
        values = [hyperparameters.get(name) for hyperparameters in asked]
        numbers = all(value is None or type(value) in (int, float) for value in values)
        kind: Any = pl.Float64 if numbers else pl.String
        cells = [value if value is None or numbers else str(value) for value in values]
        columns.append(pl.Series(f"hp_{name}", cells, dtype=kind, strict=False))
    return frame.with_columns(columns)
