"""One row a trial, as a Parquet file."""

from __future__ import annotations

from pathlib import Path

from harness.export.table import table
from harness.run.directory import RunDirectory


def export(run: RunDirectory, destination: Path) -> str:
    """Write the table; says where and how many rows."""
    frame = table(run)
    frame.write_parquet(destination)
    return f"{destination}: {len(frame)} trials"
