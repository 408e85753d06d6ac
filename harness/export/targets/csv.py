"""One row a trial, as a CSV file."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from harness.core.csv_cells import guarded
from harness.export.table import table
from harness.run.directory import RunDirectory


def export(run: RunDirectory, destination: Path) -> str:
    """Write the table; says where and how many rows. ``harness.core.csv_cells.unguarded`` gives text back as it was."""
    frame = table(run)
    # Labels and messages are somebody's text; a spreadsheet would run what looks like a formula.
    text = [pl.col(pl.String).map_elements(guarded, return_dtype=pl.String)]
    frame.with_columns(text).rename(guarded).write_csv(destination)
    return f"{destination}: {len(frame)} trials"
