"""Which jobs a command lists, and lines in a format that the user gives."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence

from .refusals import Refused
from .state import Job


def moment(seconds: float | None, otherwise: str) -> str:
    """A time as Slurm writes it, without a zone."""
    return otherwise if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def duration(seconds: float, *, full: bool = False) -> str:
    """A length of time: ``5:00``, ``1-00:00:00``; with ``full`` ``00:05:00``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    day = f"{days}-" if days else ""
    if full or days:
        return f"{day}{hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ranges(numbers: Sequence[int]) -> str:
    """``0-3,5``; a single step as ``0,2,4``."""
    groups: list[list[int]] = []
    for number in sorted(numbers):
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ",".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)


def waiting_indices(jobs: Sequence[Job]) -> str:
    """What squeue shows for the tasks of an array that wait together: ``2-3%2``."""
    throttle = jobs[0].request.throttle
    listed = ranges([job.task for job in jobs if job.task is not None])
    return f"{listed}%{throttle}" if throttle else listed


def grouped(jobs: Sequence[Job], together: Callable[[Job], bool]) -> list[list[Job]]:
    """The jobs in their order, those that are listed on one line because they wait together in one group."""
    groups: dict[object, list[Job]] = {}
    for job in jobs:
        groups.setdefault(("array", job.array, job.state) if together(job) else job.label, []).append(job)
    return list(groups.values())


def line(form: str, values: Mapping[str, str]) -> str:
    """A line from a format such as ``%i|%.8T``: a number is a column's width, cut to it, a dot means flush right.

    Raises:
        Refused: the stand-in does not know a field.
    """

    def field(match: re.Match[str]) -> str:
        right, width, letter = match.groups()
        if letter == "%":
            return "%"
        if letter not in values:
            raise Refused(f"stand-in for Slurm: no format field %{letter}; known: {' '.join(sorted(values))}")
        text = values[letter]
        if not width:
            return text
        return (text.rjust(int(width)) if right else text.ljust(int(width)))[: int(width)]

    return re.sub(r"%(\.?)(\d*)([A-Za-z%])", field, form)
