"""``scancel``."""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from .options import Option, parse
from .refusals import Refused
from .request import signal_number
from .scheduler import schedule, stop
from .settings import Settings, load_settings
from .state import Job, State, changing
from .supervisor import signal_job

OPTIONS = {
    "batch": Option("b", value=False),
    "full": Option("f", value=False),
    "me": Option(value=False),
    "name": Option("n"),
    "partition": Option("p"),
    "quiet": Option("Q", value=False),
    "signal": Option("s"),
    "state": Option("t"),
    "user": Option("u"),
}


def scancel(folder: Path, words: Sequence[str]) -> int:
    """Cancel jobs, or send them a signal: to their steps unless ``--batch`` or ``--full`` says otherwise.

    Raises:
        Refused: nothing was named, or by something that cannot be a job, or the signal is unknown.
    """
    found, names = parse("scancel", OPTIONS, words)
    given = dict(found)
    number = signal_number(given["signal"]) if "signal" in given else None
    if "signal" in given and number is None:
        raise Refused(f"Unknown job signal: {given['signal']}")
    if not names and not set(given) & {"me", "name", "partition", "state", "user"}:
        raise Refused("scancel: error: No job identification provided")
    wanted = [part for name in names for part in _tasks(name)]
    whom: Literal["batch", "steps", "full"] = "batch" if "batch" in given else "full" if "full" in given else "steps"
    settings = load_settings(folder)
    with changing(folder) as state:
        for job in _chosen(state, wanted if names else None, given):
            if number in (None, 9):
                cancel(job, settings)
            elif number is not None and job.state == "RUNNING":
                signal_job(folder, job, number, whom)
    schedule(folder)
    return 0


def cancel(job: Job, settings: Settings) -> None:
    """End a job for good; one that waits ends at once."""
    if job.state == "PENDING":
        job.state, job.ended = "CANCELLED", time.time()
    elif job.state in ("RUNNING", "COMPLETING"):
        stop(job, "CANCELLED", settings)


def _tasks(name: str) -> list[str]:
    """``12``, ``12_3``, and the tasks that ``12_[1-3,5]`` names."""
    match = re.fullmatch(r"(\d+)(?:_(?:(\d+)|\[([\d,-]+)\]))?", name)
    if match is None:
        raise Refused(f"scancel: error: Invalid job id {name}")
    if match[3] is None:
        return [name]
    tasks = []
    for part in match[3].split(","):
        first, _, last = part.partition("-")
        tasks += [f"{match[1]}_{task}" for task in range(int(first), int(last or first) + 1)]
    return tasks


def _chosen(state: State, names: list[str] | None, given: dict[str, str]) -> list[Job]:
    jobs = state.jobs if names is None else [job for name in names for job in state.named(name)]
    return [
        job
        for job in jobs
        if job.living
        and given.get("name", job.request.name) == job.request.name
        and given.get("partition", job.request.partition) == job.request.partition
        and given.get("state", job.state).upper() == job.state
        and given.get("user", getpass.getuser()) == getpass.getuser()
    ]
