"""A table that somebody else wrote: opened by its suffix, its columns found, its cells read as what they should be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from harness.errors import RequestError, suggestion

SEPARATORS = {".csv": ",", ".tsv": "\t"}
ROW = "row number"
"""Name of the column that counts; it holds a space, so that it is nobody's."""


@dataclass(frozen=True, slots=True)
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

    def place(self, row: int) -> str:
        """Where a row stands in the file, in words."""
        return f"{self.path}, {'line' if self.is_text else 'row'} {row}"

    def need(self, columns: Iterable[str]) -> None:
        """Raise RequestError unless the table has each of these columns once, naming what was probably meant."""
        for name in columns:
            if name not in self.columns:
                raise RequestError(f"{self.path}: no column {name!r}{self._meant(name)}")
            if f"{name}_duplicated_0" in self.columns:
                raise RequestError(f"{self.path}: two columns are called {name!r}; keep one of them")

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
        """A column as Int64; null where a cell is no whole number."""
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
        try:
            return frame.collect()
        except pl.exceptions.PolarsError as error:
            raise _unreadable(self.path, error) from error


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
    try:
        if suffix == ".parquet":
            frame = pl.scan_parquet(path, glob=False)
        else:
            frame = pl.scan_csv(path, separator=SEPARATORS[suffix], infer_schema_length=0, glob=False)
        schema = frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, error) from error
    return ForeignTable(path, dict(schema), frame)


def _unreadable(path: Path, error: Exception) -> RequestError:
    kind = {".csv": "comma-separated", ".tsv": "tab-separated"}.get(path.suffix.lower(), "parquet")
    reason = str(error).strip().splitlines()[0]
    return RequestError(f"{path}: not a {kind} table ({reason}); write the file again")
