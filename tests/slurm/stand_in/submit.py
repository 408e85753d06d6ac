"""``sbatch``: reads a script and its options, records what it got, and adds a job for each task."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .options import Found, directives, parse
from .processes import unmarked
from .refusals import Refused, not_submitted
from .request import INVALID_CODE, OPTIONS, read_request
from .scheduler import schedule
from .settings import load_settings
from .state import Job, State, changing

NO_SCRIPT = (
    "This does not look like a batch script.  The first",
    "line must start with #! followed by the path to an interpreter.",
    "For instance: #!/bin/sh",
)


def sbatch(folder: Path, words: Sequence[str]) -> int:
    """Submit a job; the number is printed.

    Raises:
        Refused: in Slurm's words.
    """
    entry: dict[str, Any] = {"arguments": list(words), "folder": str(Path.cwd()), "time": time.time()}
    try:
        number = _submit(folder, words, entry)
        entry["job"] = number
    except Refused as refusal:
        entry["refused"] = str(refusal)
        raise
    finally:
        with changing(folder), (folder / "submissions.jsonl").open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
    schedule(folder)
    print(number if "parsable" in entry["options"] else f"Submitted batch job {number}")
    return 0


def _submit(folder: Path, words: Sequence[str], entry: dict[str, Any]) -> int:
    settings = load_settings(folder)
    on_line, rest = parse("sbatch", OPTIONS, words, permute=False, code=INVALID_CODE)
    script, shown = _script(on_line, rest)
    entry["script"] = script
    in_script, extra = parse("sbatch", OPTIONS, directives(script, shown), code=INVALID_CODE)
    if extra:
        message = f"sbatch: error: Invalid directive found in batch script: {extra[0]}"
        raise Refused(message, code=INVALID_CODE)
    given = _settled([*in_script, *on_line])
    entry["options"] = given
    spool = folder / "spool" / f"{time.time_ns()}-{os.getpid()}"
    command = str(Path(rest[0]).absolute()) if rest else None
    request = read_request(given, settings, command=command, arguments=rest[1:], spool=spool)
    spool.mkdir(parents=True)
    (spool / "slurm_script").write_text(script, errors="surrogateescape")
    (spool / "slurm_script").chmod(0o700)
    (spool / "environment.json").write_text(json.dumps(_environment(given.get("export"))))
    with changing(folder) as state:
        _check_room(state, max(1, len(request.indices)))
        number = state.new_id()
        if request.indices:
            state.jobs += [Job(number, number, task, request, submitted=time.time()) for task in request.indices]
        else:
            state.jobs.append(Job(number, None, None, request, submitted=time.time()))
    return number


def _script(options: Found, rest: list[str]) -> tuple[str, str]:
    wrapped = [value for name, value in options if name == "wrap"]
    if wrapped:
        if rest:
            raise Refused("sbatch: error: Script arguments not permitted with --wrap option")
        return f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{wrapped[-1]}\n", "wrap"
    try:
        content = Path(rest[0]).read_bytes() if rest else sys.stdin.buffer.read()
    except OSError as error:
        raise Refused(f"sbatch: error: Unable to open file {rest[0]}") from error
    text = content.decode(errors="surrogateescape")
    if not text:
        raise Refused("sbatch: error: Batch script is empty!")
    if not text.startswith("#!"):
        raise Refused(*(f"sbatch: error: {line}" for line in NO_SCRIPT))
    if "\r\n" in text:
        lines = ("Batch script contains DOS line breaks (\\r\\n)", "instead of expected UNIX line breaks (\\n).")
        raise Refused(*(f"sbatch: error: {line}" for line in lines))
    return text, rest[0] if rest else "stdin"


def _settled(found: Found) -> dict[str, str]:
    """The last value of each option; requeue and no-requeue exclude each other."""
    given: dict[str, str] = {}
    for name, value in found:
        given[name] = value
        if name in ("requeue", "no-requeue"):
            given.pop({"requeue": "no-requeue", "no-requeue": "requeue"}[name], None)
    return given


def _environment(export: str | None) -> dict[str, str]:
    everything = unmarked(dict(os.environ))
    if export is None:
        return everything
    words = export.split(",")
    if "ALL" in words:
        kept = everything
    else:
        always = ("HOME", "LOGNAME", "PATH", "SHELL", "USER")
        kept = {name: everything[name] for name in (*always, *words) if name in everything}
    set_here = dict(word.split("=", 1) for word in words if "=" in word)
    return {**kept, **set_here, "SLURM_EXPORT_ENV": export}


def _check_room(state: State, tasks: int) -> None:
    if state.max_submit is not None and sum(job.living for job in state.jobs) + tasks > state.max_submit:
        policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
        raise not_submitted(policy, "AssocMaxSubmitJobLimit")
