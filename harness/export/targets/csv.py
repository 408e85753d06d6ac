"""One row a trial, as a CSV file."""

from __future__ import annotations

from pathlib import Path

from harness.core.csv_cells import guarded_table
from harness.export.contract import Export, ExportedRun


class Csv(Export):
    """One row a trial, as a CSV file.

    Text that a spreadsheet would run is written with an apostrophe before it; ``harness.core.csv_cells.unguarded``
    gives it back as it was.
    """

    name = "csv"
    repeatable = True

    def write(self, run: ExportedRun, destination: Path) -> str:
        """Write the table; says where and how many rows."""
        frame = run.table()
        # Labels and messages are somebody's text; a spreadsheet would run what looks like a formula.
        guarded_table(frame).write_csv(destination)
        return f"{destination}: {len(frame)} trials"
