"""Text in CSV files: a spreadsheet runs a cell that begins like a formula, whoever wrote the name or the message."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?( ?[±\[(][-+\d.,e ±\[\]()%]*)?[*§‡†]*", re.IGNORECASE)
"""With its interval or standard deviation, if it has one."""


def guarded(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would take it for a formula; numbers stay numbers.

    A cell that has such apostrophes already gets one more, so that ``unguarded`` gives back what was written.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def guarded_table(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with all texts and the names of its columns as ``guarded`` gives them."""
    import polars as pl

    return frame.with_columns(pl.col(pl.String).map_elements(guarded, return_dtype=pl.String)).rename(guarded)


def unguarded(text: str) -> str:
    """What ``guarded`` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
