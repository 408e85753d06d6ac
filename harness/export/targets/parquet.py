"""One row a trial, as a Parquet file."""

from __future__ import annotations

from pathlib import Path

from harness.export.contract import Export, ExportedRun


class Parquet(Export):
    """One row a trial, as a Parquet file."""

    name = "parquet"
    repeatable = True

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the table; says where and how many rows."""
        frame = run.table()
        frame.write_parquet(destination)
        return f"{destination}: {len(frame)} trials"
