"""A user's own table of what is known of the images of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from harness.api import ColumnKind, DataError, MetadataValue, category, quantity, read_table


def metadata_of(
    table: Path, image: str, columns: Mapping[str, ColumnKind], cases: Sequence[str]
) -> dict[str, dict[str, MetadataValue]]:
    """Values by case and column; rows of images that are not among the cases are passed over.

    Args:
        table: a CSV file.
        image: its column of paths, or of file names.
        columns: which to read.
        cases: path of each image below its folder or archive.

    Raises:
        DataError: a column is missing, an image has no row or two, a number is none, or the table names no image by
            its whole path and a file name belongs to several.
    """
    rows: dict[str, dict[str, MetadataValue]] = {}
    for row in read_table(table, tuple(dict.fromkeys((image, *columns))), None):
        name = row[image]
        if name in rows:
            raise DataError(f"{table}: {name!r}: occurs in two rows; remove one")
        rows[name] = {
            column: category(row[column]) if kind == "category" else quantity(row[column], f"{table}: {name}: {column}")
            for column, kind in columns.items()
        }
    files = Counter(PurePosixPath(case).name for case in cases)
    return {case: rows[_row(table, case, rows, files)] for case in cases}


def _row(table: Path, case: str, rows: Mapping[str, object], files: Mapping[str, int]) -> str:
    """How the table names an image."""
    if case in rows:
        return case
    name = PurePosixPath(case).name
    if name not in rows:
        raise DataError(f"{table}: {case}: the image has no row; add one, with empty cells where nothing is known")
    if files[name] > 1:
        raise DataError(f"{table}: {name!r} is the name of {files[name]} images; write their paths, such as {case!r}")
    return name
