"""A user's own table in CSV, TSV or Parquet, with the number of each row for messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import DataError, one_line, shortened
from harness.data.zip_members import csv_rows, meant, table_bytes

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
"""Endings of tables, in small letters; capital ones count as well."""


@dataclass(frozen=True, slots=True)
class CellTable:
    """A table whose cells are text."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Cells without spaces around them; an empty one is ``""``."""
    numbers: tuple[int, ...]
    """Of each row: its line in a text file, whose header is line 1; in Parquet its place from 1 on."""

    def place(self, row: int) -> str:
        """How a message about a row, counted from 0, begins."""
        return f"{self.path}: row {self.numbers[row]}"

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            DataError: there is none of that name, or there are two.
        """
        if name not in self.header:
            raise DataError(
                f"{self.path}: no column {name!r}; it has {', '.join(self.header)}{meant(name, self.header)}"
            )
        at = self.header.index(name)
        if self.header.count(name) > 1:
            raise DataError(f"{self.path}: column {name!r} occurs twice; rename one")
        return [row[at] for row in self.rows]


def load_table(path: Path) -> CellTable:
    """Read a table of at most ``MOST_TABLE`` bytes.

    The ending says its form. A CSV file whose header has semicolons and no comma, as some spreadsheets write it, is
    separated by semicolons. Numbers and truth values in Parquet become the text that a CSV file would have.

    Raises:
        DataError: it is missing, has another ending, is damaged or empty, or has a column that holds no single values.
        OSError: the file system does not give it.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        hint = "; save the sheet as CSV" if suffix in (".xls", ".xlsx", ".ods") else ""
        raise DataError(f"{path}: a table ends in {', '.join(TABLE_SUFFIXES)}{hint}")
    place, content = table_bytes(path, None)
    if suffix == ".parquet":
        header, numbered = _parquet(place, content)
    else:
        header, numbered = csv_rows(place, content, None, "\t" if suffix == ".tsv" else _delimiter(content))
    names = tuple(name.strip() for name in header)
    if not numbered:
        raise DataError(f"{path}: the table has no rows; check which file it is")
    cells = tuple(tuple(cell.strip() for cell in row) for _, row in numbered)
    return CellTable(path, names, cells, tuple(number for number, _ in numbered))


def column_name(header: str) -> str:
    """The name that a column of metadata bears where the table calls it ``header``: ``Patient Age`` is patient_age."""
    return re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")


def _delimiter(content: bytes) -> str:
    header = content.partition(b"\n")[0]
    return ";" if b";" in header and b"," not in header else ","


def _parquet(place: str, content: bytes) -> tuple[list[str], list[tuple[int, list[str]]]]:
    import polars as pl

    # Late, because polars takes long and only such tables need it.
    from harness.core.frame_files import parse_parquet

    try:
        frame = parse_parquet(content)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{place}: not a Parquet file ({shortened(one_line(str(error)), 200)}); write it again"
        ) from error
    for name, kind in frame.schema.items():
        if kind.is_nested() or kind in (pl.Binary, pl.Object):
            raise DataError(f"{place}: column {name!r} is {kind}, no single values; write it as text, or leave it out")
    text = frame.select(pl.all().cast(pl.String).fill_null(""))
    return text.columns, [(number, list(row)) for number, row in enumerate(text.rows(), start=1)]
