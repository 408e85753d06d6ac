"""What the cells of a table of metadata say: words, numbers, or that nothing is known."""

from __future__ import annotations

import math

from harness.core.errors import DataError, shortened

_MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "unknown"))
"""What a cell without a value says, in small letters."""


def category(text: str) -> str | None:
    """The word in a cell, without spaces around it; None where it says that there is none."""
    word = text.strip()
    return None if word.lower() in _MISSING else word


def quantity(text: str, place: str) -> float | None:
    """The number in a cell; None where it says that there is none.

    Args:
        text: of the cell.
        place: where it is, as the message begins.

    Raises:
        DataError: it is no finite number.
    """
    word = category(text)
    if word is None:
        return None
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{place}: {shortened(repr(word))} is no number; correct it, or make the column a category")
    return value
