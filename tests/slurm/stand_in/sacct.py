"""``sacct``: what the accounting knows of jobs and their steps."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .listing import duration, grouped, moment, waiting_indices
from .options import Option, parse
from .refusals import Refused
from .state import FINAL, End, Job, look

OPTIONS = {
    "allocations": Option("X", value=False),
    "delimiter": Option(),
    "duplicates": Option("D", value=False),
    "endtime": Option("E"),
    "format": Option("o"),
    "jobs": Option("j"),
    "noheader": Option("n", value=False),
    "parsable": Option("p", value=False),
    "parsable2": Option("P", value=False),
    "starttime": Option("S"),
}
FIELDS = (
    *("Account", "Comment", "Elapsed", "End", "ExitCode", "JobID", "JobIDRaw", "JobName", "NodeList", "Partition"),
    *("Restarts", "Start", "State", "Submit", "WorkDir"),
)
NO_DATABASE = (
    "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to "
    "host:127.0.0.1:6819: Connection refused",
    "sacct: error: Sending PersistInit msg: Connection refused",
    "sacct: error: Problem talking to the database: Connection refused",
)


def sacct(folder: Path, words: Sequence[str]) -> int:
    """List jobs and steps, ended ones too.

    Raises:
        Refused: an unknown option or field, or the accounting is off.
    """
    found, _ = parse("sacct", OPTIONS, words)
    given = dict(found)
    asked = [part for name, value in found if name == "jobs" for part in value.split(",")]
    fields = _fields(given.get("format", "JobID,JobName,Partition,Account,State,ExitCode"))
    state = look(folder)
    if not state.accounting:
        raise Refused(*NO_DATABASE)
    if "noheader" not in given:
        _print(fields, given)
    jobs = [job for job in state.jobs if not asked or {job.label, str(job.id), str(job.array)} & set(asked)]
    for group in grouped(jobs, _together):
        for row in _rows(group, given):
            _print([row[name] for name in fields], given)
    return 0


def _together(job: Job) -> bool:
    return job.unsplit and job.state == "PENDING"


def _fields(text: str) -> list[str]:
    known = {name.lower(): name for name in FIELDS}
    names = [word.partition("%")[0] for word in text.split(",")]
    for name in names:
        if name.lower() not in known:
            raise Refused(f'sacct: error: Invalid field requested: "{name}"')
    return [known[name.lower()] for name in names]


def _print(values: Sequence[str], given: Mapping[str, str]) -> None:
    between = given.get("delimiter", "|")
    if "parsable2" in given:
        print(between.join(values))
    elif "parsable" in given:
        print(between.join(values) + between)
    else:
        print(" ".join(f"{value[:12]:>12}" for value in values))


def _rows(group: list[Job], given: Mapping[str, str]) -> Iterator[dict[str, str]]:
    job = group[0]
    label = f"{job.array}_[{waiting_indices(group)}]" if _together(job) else job.label
    ends = list(job.history) if "duplicates" in given else []
    if job.history and job.state == "PENDING" and time.time() < job.begin:
        # Until a requeued job may start again, the accounting tells of its last end.
        ends = ends or job.history[-1:]
    else:
        ends.append(_present(job))
    for end in ends:
        yield _row(job, end, label, str(job.id), job.request.name, _whole(end), f"{end.code}:{end.signal}")
        if "allocations" in given or not end.started:
            continue
        yield _row(job, end, f"{label}.batch", f"{job.id}.batch", "batch", *_batch(end))
        for step in end.steps:
            name = step["name"]
            yield _row(job, end, f"{label}.{step['id']}", f"{job.id}.{step['id']}", name, *_step(step, end))


def _present(job: Job) -> End:
    state = {"COMPLETING": "RUNNING"}.get(job.state, job.state)
    ended = job.ended or 0.0
    return End(state, job.code, job.signal, job.node, job.started or 0.0, ended, job.steps)


def _whole(end: End) -> str:
    return f"CANCELLED by {os.getuid()}" if end.state == "CANCELLED" else end.state


def _batch(end: End) -> tuple[str, str]:
    if end.state in FINAL | {"REQUEUED"} and not end.code and not end.signal and end.state != "COMPLETED":
        return "CANCELLED", "0:15"
    if end.signal:
        return "CANCELLED", f"0:{end.signal}"
    return ("FAILED" if end.code else end.state), f"{end.code}:0"


def _step(step: Mapping[str, Any], end: End) -> tuple[str, str]:
    code = step["code"]
    if code is None:
        return ("RUNNING", "0:0") if end.state == "RUNNING" else ("CANCELLED", "0:15")
    if code < 0:
        return "CANCELLED", f"0:{-code}"
    return ("FAILED" if code else "COMPLETED"), f"{code}:0"


def _row(job: Job, end: End, label: str, raw: str, name: str, state: str, code: str) -> dict[str, str]:
    length = (end.ended or time.time()) - end.started if end.started else 0.0
    return {
        "Account": job.request.account,
        "Comment": job.request.comment or "",
        "Elapsed": duration(length, full=True),
        "End": moment(end.ended or None, "Unknown"),
        "ExitCode": code,
        "JobID": label,
        "JobIDRaw": raw,
        "JobName": name,
        "NodeList": end.node or "None assigned",
        "Partition": job.request.partition,
        "Restarts": str(max(0, job.starts - 1)),
        "Start": moment(end.started or None, "Unknown"),
        "State": state,
        "Submit": moment(job.submitted, "Unknown"),
        "WorkDir": job.request.folder,
    }
