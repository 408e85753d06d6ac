"""The results that somebody's table holds: one value for each method, dataset, seed and metric."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from analysis.imported.draws import TableDraws, draw_cells, read_draws
from analysis.imported.file import LARGEST, LONGEST_NAME, ROW, ForeignTable, open_table, shown
from harness.core.errors import RequestError
from harness.metrics.table import built_in

COLUMNS = ("method", "dataset", "seed", "metric", "value")
NAMES = ("method", "dataset", "metric")
UNDEFINED = ("n/a", "na")
"""A value that the test cases leave undefined, in either case."""
FAILED = "failed"
"""In the place of a value: the training failed for good."""


@dataclass(frozen=True, slots=True)
class TableTrial:
    """One training in the table."""

    place: str
    """Where it is first mentioned."""
    values: dict[str, float | None] = field(default_factory=dict)
    """Metric → value; None where the table says that it is undefined."""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ImportedResults:
    """What the table says; names in the order in which they first appear."""

    path: Path
    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    trials: Mapping[tuple[str, str], Mapping[int, TableTrial]]
    """(dataset, method) → seed → trial."""
    decimals: Mapping[str, int]
    """Metric → most decimals that one of its values is written with; full precision counts as 17."""
    draws: TableDraws
    """What each training drew anew."""


def read_results(path: Path) -> ImportedResults:
    """Read a table of results with the columns ``COLUMNS``, and maybe those of ``draws``; others do not matter.

    Raises:
        RequestError: the file is no such table, or one of its cells is not what it should be.
    """
    table = open_table(path)
    table.need(COLUMNS)
    names, drawn = NAMES, draw_cells(table)
    rows = table.collect(
        table.numbered.select(
            pl.col(ROW),
            *(table.text(name) for name in names),
            table.whole("seed"),
            table.number("value"),
            table.text("seed").alias("seed as written"),
            table.text("value").alias("written"),
            *drawn,
        )
    )
    if rows.is_empty():
        raise RequestError(f"{path}: no row below the header; write one for each method, dataset, seed and metric")
    rows = rows.with_columns(
        pl.col("written").str.to_lowercase().is_in(UNDEFINED).fill_null(not table.is_text).alias("undefined"),
        (pl.col("written").str.to_lowercase() == FAILED).fill_null(False).alias("failed"),
    )
    _check_cells(table, rows)
    # First: seeds that are numbered anew on each split would look like rows that stand twice.
    draws = read_draws(table, rows)
    _check_duplicates(table, rows)
    return ImportedResults(
        path=path,
        methods=tuple(rows["method"].unique(maintain_order=True)),
        datasets=tuple(rows["dataset"].unique(maintain_order=True)),
        metrics=tuple(rows["metric"].unique(maintain_order=True)),
        trials=_trials(table, rows),
        decimals=_decimals(rows),
        draws=draws,
    )


def _check_cells(table: ForeignTable, rows: pl.DataFrame) -> None:
    """Refuse the first cell that is not what its column says."""
    for name in NAMES:
        _refuse(table, rows, name, pl.col(name).is_null(), f"no {name}; fill in its name")
        longer = pl.col(name).str.len_chars() > LONGEST_NAME
        _refuse(table, rows, name, longer, f"a {name} of more than {LONGEST_NAME} letters; give it a shorter name")
    _refuse(
        table,
        rows,
        "seed",
        pl.col("seed").is_null(),
        "the seed is {seed as written}, not a whole number below 2^63; write one",
    )
    known = pl.col("undefined") | pl.col("failed")
    _refuse(
        table,
        rows,
        "value",
        ~known & (pl.col("value").is_null() | ~pl.col("value").is_finite()),
        "the {metric} of {method} on {dataset}, seed {seed}, is {written}, not a number; write n/a where it is "
        f"undefined, {FAILED} where the training failed",
    )
    _refuse(
        table,
        rows,
        "value",
        ~known & (pl.col("value").abs() > LARGEST),
        f"the {{metric}} of {{method}} on {{dataset}}, seed {{seed}}, is {{written}}, beyond ±{LARGEST:g}; no score is "
        "so large",
    )
    # Margins and chance levels are in the units of the built-in metrics.
    for metric, (low, high) in ((name, metric.bounds) for name, metric in built_in().items()):
        _refuse(
            table,
            rows,
            "value",
            (pl.col("metric") == metric) & ~known & ~pl.col("value").is_between(low, high),
            "the {metric} of {method} on {dataset}, seed {seed}, is {written}, outside "
            f"[{low:g}, {high:g}]; write fractions, not per cent, or give another metric another name",
        )


def _refuse(table: ForeignTable, rows: pl.DataFrame, column: str, wrong: pl.Expr, reason: str) -> None:
    """Refuse the first row that is wrong, naming its place and the column."""
    found = rows.filter(wrong).head(1).to_dicts()
    if found:
        cells = {
            name: "empty" if value is None else shown(repr(value)) if name.endswith("written") else value
            for name, value in found[0].items()
        }
        raise RequestError(f"{table.place(found[0][ROW], column)}: {reason.format(**cells)}")


def _check_duplicates(table: ForeignTable, rows: pl.DataFrame) -> None:
    keys = ["method", "dataset", "seed", "metric"]
    first = pl.col(ROW).first().over(keys)
    again = rows.select(*keys, ROW, first.alias("first")).filter(pl.col(ROW) != pl.col("first")).head(1).to_dicts()
    if again:
        row = again[0]
        raise RequestError(
            f"{table.place(row[ROW])}: {row['metric']} of {row['method']} on {row['dataset']}, seed {row['seed']}, "
            f"stands already in {'line' if table.is_text else 'row'} "
            f"{table.line(row['first']) if table.is_text else row['first']}; keep one of them"
        )


def _trials(table: ForeignTable, rows: pl.DataFrame) -> dict[tuple[str, str], dict[int, TableTrial]]:
    result: dict[tuple[str, str], dict[int, TableTrial]] = {}
    columns = ("dataset", "method", "seed", "metric", "value", "undefined", "failed", ROW)
    for dataset, method, seed, metric, value, undefined, failed, row in rows.select(columns).iter_rows():
        cell = result.setdefault((dataset, method), {})
        place = table.place(row).removeprefix(f"{table.path}, ")
        trial = cell.setdefault(seed, TableTrial(f"{table.path.name}, {place}", failed=failed))
        if trial.failed != failed:
            raise RequestError(
                f"{table.place(row)}: {method} on {dataset}, seed {seed}, has values and is said to have {FAILED}; "
                "keep the one or the other"
            )
        if not failed:
            trial.values[metric] = None if undefined else value
    return result


def _decimals(rows: pl.DataFrame) -> dict[str, int]:
    result: dict[str, int] = {}
    for metric, written in (
        rows.filter(~pl.col("undefined") & ~pl.col("failed")).select("metric", "written").iter_rows()
    ):
        plain = re.fullmatch(r"[+-]?\d*\.?(\d*)", written)
        result[metric] = max(result.get(metric, 0), 17 if plain is None else len(plain[1]))
    return result
