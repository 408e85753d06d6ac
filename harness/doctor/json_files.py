"""Whether a JSON file holds what its name promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from harness.core.errors import one_line
from harness.core.files import parse_json, read_with_status
from harness.core.json_form import Form

WORDS = {
    "missing": "is missing",
    "empty": "is empty",
    "torn": "is cut short or edited, not readable",
    "other version": "was written by another version, or edited",
}


R = TypeVar("R")


class Judgement(NamedTuple, Generic[R]):
    """What is wrong with a JSON file, and what it holds."""

    fault: str | None
    """A key of ``WORDS``; None where nothing is wrong."""
    value: Any
    """The JSON object that it holds, whatever its form; empty where it cannot be read."""
    what: str = ""
    """The fault in words."""
    whole: R | None = None
    """What it holds, if nothing is wrong with it."""


def read(path: Path, form: Form[R]) -> Judgement[R]:
    """Whether a file holds what it must.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return judged(read_with_status(path)[1], form)
    except FileNotFoundError:
        return judged(None, form)


def judged(content: bytes | None, form: Form[R]) -> Judgement[R]:
    """The same of what the file holds; None where it is missing."""
    if content is None:
        return Judgement("missing", {}, WORDS["missing"])
    # The way of nearly all files: in one go.
    whole = form.parse(content)
    if whole is not None:
        return Judgement(None, whole, whole=whole)
    if not content.strip():
        return Judgement("empty", {}, WORDS["empty"])
    value = parse_json(content)
    if value is None:
        return Judgement("torn", {}, WORDS["torn"])
    return Judgement("other version", value, f"{WORDS['other version']} ({one_line(form.fault(value) or '')})")
