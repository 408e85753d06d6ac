"""Tables of run and cache folders as polars frames: the one door to polars for paths that a user or a run chooses.

Polars reads a path as a pattern (``[1]``, ``*``, ``?``), so that a run beside another one would be read in its place,
and as an address (``~``, ``s3://``). It never gets a path here, but an opened file or its content.
"""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from harness.core.csv_cells import guarded_table
from harness.core.files import MOST_BYTES, open_stream, read_with_status, write_atomic
from harness.core.parquet_size import expanded_bytes


def read_parquet(path: Path) -> pl.DataFrame:
    """The table of a Parquet file.

    Raises:
        NoPlainFileError: it is a link, a pipe or a device, or too long.
        OSError: it cannot be read.
        polars.exceptions.PolarsError: it is no such table, or would take more memory than ``MOST_BYTES``: a file of a
            few kilobytes can announce as many gigabytes.
    """
    return parse_parquet(read_with_status(path)[1])


def parse_parquet(content: bytes) -> pl.DataFrame:
    """The table that a Parquet file holds.

    Raises:
        polars.exceptions.PolarsError: as for ``read_parquet``.
    """
    try:
        size = expanded_bytes(content)
    except ValueError as error:
        raise pl.exceptions.ComputeError(f"no Parquet file: {error}") from error
    if size > MOST_BYTES:
        raise pl.exceptions.ComputeError(f"takes {size / 1e6:.0f} MB of memory, more than any such table")
    return pl.read_parquet(io.BytesIO(content))


def read_ipc(path: Path) -> pl.DataFrame:
    """The table of an Arrow file (Feather), as ``write_ipc`` writes it.

    Raises:
        NoPlainFileError: it is a link, a pipe or a device.
        OSError: it cannot be read.
        polars.exceptions.PolarsError: it is no such table.
    """
    with open_stream(path) as stream:
        return pl.read_ipc(stream)


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a table for a user, as CSV or, where the path ends so, as Parquet.

    In a CSV file, text that a spreadsheet would run gets an apostrophe before it.

    Raises:
        OSError: it cannot be written.
    """
    buffer = io.BytesIO()
    if path.suffix.lower() == ".parquet":
        frame.write_parquet(buffer)
    else:
        guarded_table(frame).write_csv(buffer)
    write_atomic(path, buffer.getvalue())
