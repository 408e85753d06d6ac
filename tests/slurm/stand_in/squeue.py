"""``squeue``."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .listing import duration, grouped, line, moment, waiting_indices
from .options import Option, parse
from .refusals import Refused
from .state import FINAL, Job, look

OPTIONS = {
    "array": Option("r", value=False),
    "format": Option("o"),
    "jobs": Option("j"),
    "me": Option(value=False),
    "name": Option("n"),
    "noheader": Option("h", value=False),
    "states": Option("t"),
    "user": Option("u"),
}
SHORT = {
    "CANCELLED": "CA",
    "COMPLETED": "CD",
    "COMPLETING": "CG",
    "FAILED": "F",
    "NODE_FAIL": "NF",
    "PENDING": "PD",
    "PREEMPTED": "PR",
    "RUNNING": "R",
    "TIMEOUT": "TO",
}
DEFAULT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
HEADER = {
    **{"i": "JOBID", "A": "JOBID", "F": "ARRAY_JOB_ID", "K": "ARRAY_TASK_ID", "P": "PARTITION", "j": "NAME"},
    **{"u": "USER", "t": "ST", "T": "STATE", "M": "TIME", "l": "TIME_LIMIT", "L": "TIME_LEFT", "D": "NODES"},
    **{"R": "NODELIST(REASON)", "N": "NODELIST", "r": "REASON", "k": "COMMENT", "S": "START_TIME", "e": "END_TIME"},
    **{"a": "ACCOUNT", "q": "QOS", "C": "CPUS", "V": "SUBMIT_TIME", "Z": "WORK_DIR", "o": "COMMAND"},
}


def squeue(folder: Path, words: Sequence[str]) -> int:
    """List jobs.

    Raises:
        Refused: an unknown option, state or job.
    """
    found, _ = parse("squeue", OPTIONS, words)
    given = dict(found)
    form = given.get("format", DEFAULT)
    jobs = _chosen(look(folder).jobs, given)
    if "noheader" not in given:
        print(line(form, HEADER))
    for group in grouped(jobs, lambda job: "array" not in given and _waits(job)):
        print(line(form, _values(group, alone="array" in given)))
    return 0


def _waits(job: Job) -> bool:
    return job.unsplit and job.state == "PENDING"


def _chosen(jobs: list[Job], given: Mapping[str, str]) -> list[Job]:
    states = _states(given["states"]) if "states" in given else set(SHORT) - FINAL
    users = set(given.get("user", getpass.getuser()).split(","))
    if not users & {getpass.getuser(), str(os.getuid())}:
        return []
    names = given["name"].split(",") if "name" in given else None
    numbers = given["jobs"].split(",") if "jobs" in given else None
    if numbers is not None and len(numbers) == 1 and not any(_is(job, numbers[0]) for job in jobs):
        raise Refused("slurm_load_jobs error: Invalid job id specified")
    return [
        job
        for job in jobs
        if job.state in states
        and (names is None or job.request.name in names)
        and (numbers is None or any(_is(job, number) for number in numbers))
    ]


def _states(text: str) -> set[str]:
    if text.lower() == "all":
        return set(SHORT)
    long = {short: state for state, short in SHORT.items()}
    asked = [word.upper() for word in text.split(",")]
    for state in asked:
        if state not in SHORT and state not in long:
            raise Refused(
                f"squeue: error: Invalid job state specified: {state.lower()}",
                f"squeue: error: Valid job states include: {','.join(SHORT)}",
            )
    return {long.get(state, state) for state in asked}


def _is(job: Job, number: str) -> bool:
    return number in (job.label, str(job.id), str(job.array))


def _values(group: list[Job], *, alone: bool) -> dict[str, str]:
    job = group[0]
    request = job.request
    together = _waits(job) and not alone
    limit = 60.0 * request.minutes
    used = 0.0 if job.started is None else (job.ended or time.time()) - job.started
    indices = waiting_indices(group) if together else str(job.task)
    pending = job.state == "PENDING"
    start = job.started or (job.begin or None)
    end = job.ended or (None if start is None else start + limit)
    return {
        "i": f"{job.array}_[{indices}]" if together else job.label,
        "A": str(job.id),
        "F": str(job.array or job.id),
        "K": "N/A" if job.array is None else indices,
        "P": request.partition,
        "j": request.name,
        "u": getpass.getuser(),
        "t": SHORT[job.state],
        "T": job.state,
        "M": duration(used),
        "l": duration(limit),
        "L": duration(max(0.0, limit - used)),
        "D": "1",
        "N": job.node,
        "R": f"({job.reason})" if pending or (job.state in FINAL and job.reason != "None") else job.node,
        "r": job.reason,
        "k": "(null)" if request.comment is None else request.comment,
        "S": moment(start, "N/A"),
        "e": moment(end, "N/A"),
        "a": request.account,
        "q": request.qos,
        "C": str(request.cpus * (request.tasks or 1)),
        "V": moment(job.submitted, "N/A"),
        "Z": request.folder,
        "o": request.command or "(null)",
    }
