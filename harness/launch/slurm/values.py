"""The values of a cluster profile: durations, amounts of memory, and texts that arrive as they were written."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from harness.spec.forms import shown

LONGEST = 1000
"""Characters; Slurm refuses texts of more than 1,023 bytes or so, each option by a limit of its own."""

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>\d\d?):(?P<seconds>\d\d?)")
_DAYS = re.compile(r"(?P<days>\d+)-(?P<hours>\d\d?)(?::(?P<minutes>\d\d?))?")
_UNITS = re.compile(r"(?:(?P<days>\d+)d)?(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?")
_MEMORY = re.compile(r"(\d+)([KMGT])B?", re.IGNORECASE)
_MEBIBYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}


def minutes(given: Any) -> int:
    """A duration in whole minutes, rounded up as Slurm does.

    Args:
        given: minutes as a number, ``90m``, ``4h``, ``1d12h``, ``04:00:00``, ``2-00:00:00``, or ``2-12``.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    # Python refuses to read whole numbers of thousands of digits.
    text = given.strip() if isinstance(given, str) and len(given) < 40 else ""
    if text.isdecimal():
        return int(text)
    if re.fullmatch(r"\d+:\d+", text):
        first = int(text.partition(":")[0])
        raise ValueError(f"{text} may mean {first} hours or {first} minutes; write {first}h or {first}m")
    for form in (_CLOCK, _DAYS, _UNITS):
        match = form.fullmatch(text) if text else None
        if match is not None:
            parts = {name: int(value or 0) for name, value in match.groupdict().items()}
            seconds = parts.get("seconds", 0)
            return (parts["days"] * 24 + parts["hours"]) * 60 + parts.get("minutes", 0) + math.ceil(seconds / 60)
    raise ValueError(f"{shown(given)} is no duration; write 4h, 90m, 04:00:00, 2-00:00:00 or a number of minutes")


def shown_duration(whole_minutes: int) -> str:
    """A duration as Slurm writes it: ``2-00:00:00``, ``04:00:00``."""
    days, rest = divmod(whole_minutes, 24 * 60)
    return f"{f'{days}-' if days else ''}{rest // 60:02}:{rest % 60:02}:00"


def memory(given: Any) -> str:
    """An amount of memory as sbatch takes it.

    Raises:
        ValueError: no whole number with a unit. Slurm would take a bare number for mebibytes.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        raise ValueError(f"{shown(given)} of what? write {shown(given)}G or {shown(given)}M")
    match = _MEMORY.fullmatch(given.strip()) if isinstance(given, str) and len(given) < 40 else None
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{shown(given)} is no amount of memory; write a whole number with M, G or T, such as 32G")
    return f"{int(match[1])}{match[2].upper()}"


def mebibytes(amount: str) -> float:
    """An amount as ``memory`` returns it, in MiB."""
    return int(amount[:-1]) * _MEBIBYTES[amount[-1]]


def single_line(text: str) -> str:
    """Refuse what no line of a script can hold.

    Raises:
        ValueError: a line break or NUL.
    """
    for sign in text:
        if sign in "\n\r\0":
            raise ValueError(f"holds {sign!r}, which cannot be passed on; remove it")
    return text


def for_slurm(text: str) -> str:
    """Refuse what ``#SBATCH`` lines would change.

    Raises:
        ValueError: as ``single_line``; a backslash, which sbatch takes out even of quotes; too long.
    """
    single_line(text)
    if "\\" in text:
        raise ValueError("holds a backslash, which sbatch removes; write it without")
    if len(text.encode()) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters, which Slurm refuses; shorten it")
    return text


Minutes = Annotated[int, BeforeValidator(minutes)]
Memory = Annotated[str, BeforeValidator(memory)]
SlurmText = Annotated[str, StringConstraints(min_length=1), AfterValidator(for_slurm)]
Line = Annotated[str, AfterValidator(single_line)]
FilledLine = Annotated[str, StringConstraints(min_length=1), AfterValidator(single_line)]
