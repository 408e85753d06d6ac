"""A table that somebody else wrote: opened by its suffix, its columns found, its cells read as what they should be."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from analysis.imported.text_faults import MOST_COLUMNS, first_lines, header_fault, row_fault
from harness.core.errors import RequestError, suggestion

SEPARATORS = {".csv": ",", ".tsv": "\t"}
_KINDS = {".csv": "comma-separated", ".tsv": "tab-separated", ".parquet": "parquet"}
ROW = "row number"
"""Name of the column that counts; it holds a space, so that it is nobody's."""
LARGEST = 1e38
"""Bound on the size of every number: about the largest of 32 bits, and its fourth power is still one of 64."""
LONGEST_NAME = 200
"""Letters of a method, dataset or metric."""


@dataclass(frozen=True)
class ForeignTable:
    """A table that is open but not read yet."""

    path: Path
    columns: dict[str, pl.DataType]
    whole_frame: pl.LazyFrame
    """All columns; those of a text file as text, with its blank lines."""

    @property
    def is_text(self) -> bool:
        """Whether every cell is text."""
        return self.path.suffix.lower() in SEPARATORS

    @property
    def frame(self) -> pl.LazyFrame:
        """All columns, without blank lines."""
        return self._without_blank(self.whole_frame)

    @property
    def numbered(self) -> pl.LazyFrame:
        """All columns, without blank lines, and ``ROW``: the line of a text file, the row of another, from 1."""
        return self._without_blank(self.whole_frame.with_row_index(ROW, offset=2 if self.is_text else 1))

    def _without_blank(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.filter(~pl.all_horizontal(pl.col(list(self.columns)).is_null())) if self.is_text else frame

    def place(self, row: int, column: str | None = None) -> str:
        """Where a row of ``numbered`` is in the file, in words, and in which column."""
        of_column = "" if column is None else f", column {column!r}"
        if not self.is_text:
            return f"{self.path}, row {row}{of_column}"
        return f"{self.path}, line {self.line(row)}{of_column}"

    def line(self, row: int) -> int:
        """The line on which a row of ``numbered`` begins: a quoted cell may hold line ends."""
        begins = self._begins
        return row if begins is None or row - 2 >= len(begins) else begins[row - 2]

    @cached_property
    def _begins(self) -> list[int] | None:
        return first_lines(self.path, SEPARATORS[self.path.suffix.lower()])

    def need(self, columns: Iterable[str]) -> None:
        """Raise RequestError unless the table has each of these columns once, naming what was probably meant.

        Their cells must be text or numbers: a column of a parquet file may hold lists, dates or bytes.
        """
        for name in columns:
            if name not in self.columns:
                raise RequestError(f"{self.path}: no column {name!r}{self._meant(name)}")
            if f"{name}_duplicated_0" in self.columns:
                raise RequestError(f"{self.path}: two columns are called {name!r}; keep one of them")
            kind = self.columns[name]
            if not (kind.is_numeric() or kind in (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null)):
                raise RequestError(f"{self.path}, column {name!r}: it holds {kind}; write text or plain numbers")

    def optional(self, *columns: str) -> list[str]:
        """Those of these columns that the table has; RequestError where one is there with another spelling alone."""
        folded = {column.strip().casefold(): column for column in self.columns}
        for name in columns:
            if name not in self.columns and name in folded:
                raise RequestError(f"{self.path}: the column {folded[name]!r} would be ignored; rename it {name!r}")
        found = [name for name in columns if name in self.columns]
        self.need(found)
        return found

    def _meant(self, name: str) -> str:
        header = next(iter(self.columns), "")
        if self.is_text and len(self.columns) == 1 and ";" in header:
            return "; its columns are separated by semicolons, save it with commas and decimal points"
        folded = {column.strip().casefold(): column for column in self.columns}
        if name in folded:
            return f"; rename {folded[name]!r}"
        return suggestion(name, self.columns).replace("did you mean", "rename").removesuffix("?")

    def text(self, name: str) -> pl.Expr:
        """A column as text; a missing or empty cell is null."""
        if self.is_text:
            # Spaces after separators are usual there, and no part of a name.
            stripped = pl.col(name).str.strip_chars()
            return pl.when(stripped != "").then(stripped).alias(name)
        column = pl.col(name) if self.columns[name] == pl.String else pl.col(name).cast(pl.String)
        return pl.when(column != "").then(column).alias(name)

    def present(self, name: str) -> pl.Expr:
        """Whether a cell holds anything."""
        return self.text(name).is_not_null() if self.is_text else pl.col(name).is_not_null()

    def only(self, name: str, value: str) -> pl.LazyFrame:
        """The rows whose column ``name`` holds ``value``."""
        if self.columns[name] == pl.String and not self.is_text:
            # Left as it is, so that parts of a parquet file without the value are not even read.
            return self.frame.filter(pl.col(name) == value)
        return self.frame.filter(self.text(name) == value)

    def whole(self, name: str) -> pl.Expr:
        """A column as Int64; null where a cell is not a whole number."""
        kind = self.columns[name]
        if kind.is_integer() or kind == pl.Boolean:
            return pl.col(name).cast(pl.Int64, strict=False)
        if kind.is_float():
            number = pl.col(name)
            return pl.when(number.is_finite() & (number == number.floor())).then(number).cast(pl.Int64, strict=False)
        return self.text(name).str.replace(r"\.0+$", "").cast(pl.Int64, strict=False).alias(name)

    def number(self, name: str) -> pl.Expr:
        """A column as Float64; null where a cell is no number; it may be infinite or not a number (nan)."""
        if self.columns[name].is_numeric():
            return pl.col(name).cast(pl.Float64)
        return self.text(name).cast(pl.Float64, strict=False).alias(name)

    def collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """Read.

        Raises:
            RequestError: the file cannot be read as a table.
        """
        with _reading(self.path):
            return frame.collect()


def shown(text: str, most: int = 60) -> str:
    """A cell as an error line shows it: the beginning of a long one."""
    return text if len(text) <= most else f"{text[:most]}…"


def open_table(path: Path) -> ForeignTable:
    """Open a CSV, TSV or parquet file, by its suffix.

    Raises:
        RequestError: there is no such file, its suffix is another, it is empty or no such table.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise RequestError(f"{path}: a folder, not a table; for a run directory, name it without --table")
    if suffix not in (*SEPARATORS, ".parquet"):
        raise RequestError(f"{path}: its suffix should say what it is: {', '.join(SEPARATORS)} or .parquet")
    if not path.is_file():
        raise RequestError(f"{path}: no such file; name a table")
    if suffix in SEPARATORS:
        fault = header_fault(path, SEPARATORS[suffix])
        if fault is not None:
            raise RequestError(f"{path}: not a {_KINDS[suffix]} table: {fault}")
    with _reading(path):
        if suffix == ".parquet":
            frame = pl.scan_parquet(path, glob=False)
        else:
            frame = pl.scan_csv(path, separator=SEPARATORS[suffix], infer_schema_length=0, glob=False)
        schema = frame.collect_schema()
    if len(schema) > MOST_COLUMNS:
        raise RequestError(f"{path}: {len(schema):,} columns; a table has at most {MOST_COLUMNS:,}")
    return ForeignTable(path, dict(schema), frame)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever polars says of a file that is no table into a RequestError of one line."""
    suffix = path.suffix.lower()
    with _without_panics():
        try:
            yield
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            fault = row_fault(path, SEPARATORS[suffix]) if suffix in SEPARATORS else None
            if fault is not None:
                raise RequestError(f"{path}: not a {_KINDS[suffix]} table: {fault}") from error
            reason = "it is damaged" if isinstance(error, pl.exceptions.PanicException) else _first_line(error)
            raise RequestError(f"{path}: not a {_KINDS[suffix]} table ({reason}); write the file again") from error


@contextlib.contextmanager
def _without_panics() -> Iterator[None]:
    """Keep from standard error what polars writes there itself, past Python, where a damaged file makes it panic."""
    try:
        real = os.dup(2)
    except OSError:  # Standard error is closed: nothing can be written there.
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)


def _first_line(error: Exception) -> str:
    """What polars says, without the advice on how to call it."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
