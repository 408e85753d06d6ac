"""Whether a JSON file holds what its name promises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.files import parse_json, read_with_status

WORDS = {
    "missing": "is missing",
    "empty": "is empty",
    "torn": "is cut short or edited, not readable",
    "other version": "was written by another version, or edited",
}


def read(path: Path, required: Sequence[str] = ()) -> tuple[str | None, dict[str, Any]]:
    """What is wrong with a JSON object (a key of ``WORDS``; None where nothing is), and what it holds.

    Args:
        path: the file.
        required: keys that it must have.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return judged(read_with_status(path)[1], required)
    except FileNotFoundError:
        return judged(None, required)


def judged(content: bytes | None, required: Sequence[str] = ()) -> tuple[str | None, dict[str, Any]]:
    """The same of what the file holds; None where it is missing."""
    if content is None:
        return "missing", {}
    if not content.strip():
        return "empty", {}
    value = parse_json(content)
    if value is None:
        return "torn", {}
    return ("other version" if any(key not in value for key in required) else None), value


def lacking(value: dict[str, Any], required: Sequence[str]) -> str:
    """A closing remark that names the keys which are not there; empty where none is known to be."""
    absent = [key for key in required if key not in value]
    return f" (it lacks {', '.join(absent)})" if value and absent else ""
