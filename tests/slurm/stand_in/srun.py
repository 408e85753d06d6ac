"""``srun``: a step of the job that it is called in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from .options import Option, expanded, parse
from .processes import FOLDER, JOB, STEP
from .refusals import Refused
from .state import Job, changing
from .supervisor import file_values

OPTIONS = {
    "cpu-bind": Option(),
    "cpus-per-task": Option("c"),
    "error": Option("e"),
    "export": Option(),
    "gpus-per-node": Option(),
    "gres": Option(),
    "input": Option("i"),
    "kill-on-bad-exit": Option("K"),
    "mem": Option(),
    "nodes": Option("N"),
    "ntasks": Option("n"),
    "open-mode": Option(),
    "output": Option("o"),
    "overlap": Option(value=False),
    "unbuffered": Option("u", value=False),
}
BAD_OPTION = 255


def srun(folder: Path, words: Sequence[str]) -> int:
    """Run a command as the tasks of a step, and wait for them; the highest exit code of a task.

    Raises:
        Refused: it is not called in a job, or the job has not so many processors.
    """
    found, command = parse("srun", OPTIONS, words, permute=False, code=BAD_OPTION)
    given = dict(found)
    if os.environ.get(FOLDER) != str(folder) or JOB not in os.environ:
        raise Refused("srun: error: stand-in for Slurm: steps run inside of jobs only; submit a script with sbatch")
    if not command:
        raise Refused("srun: fatal: No command given to execute.")
    label, _, start = os.environ[JOB].rpartition(":")
    tasks = int(given.get("ntasks") or os.environ.get("SLURM_NTASKS", "1"))
    if tasks > int(os.environ["SLURM_CPUS_ON_NODE"]):
        name = os.environ["SLURM_JOB_ID"]
        raise Refused(f"srun: error: Unable to create step for job {name}: More processors requested than permitted")
    with changing(folder) as state:
        [job] = state.named(label)
        number = len(job.steps)
        if str(job.starts) == start:
            job.steps.append({"id": number, "name": Path(command[0]).name, "code": None})
    code = _run(job, number, tasks, command, given.get("output"), given.get("error"))
    with changing(folder) as state:
        [now] = state.named(label)
        if str(now.starts) == start and number < len(now.steps):
            now.steps[number]["code"] = code
    return code if code >= 0 else 128 - code


def _run(job: Job, number: int, tasks: int, command: list[str], output: str | None, error: str | None) -> int:
    """Run the tasks; the highest exit code, or the negative number of a signal that ended one."""
    values = {**file_values(job), "s": str(number)}
    codes = []
    with ExitStack() as open_files:
        streams: dict[str, IO[bytes]] = {}

        def stream(pattern: str | None, task: int) -> IO[bytes] | None:
            if pattern is None:
                return None
            name = expanded(pattern, {**values, "t": str(task)})
            if name not in streams:
                mode = "ab" if job.request.append else "wb"
                streams[name] = open_files.enter_context(Path(name).open(mode))
            return streams[name]

        running = []
        for task in range(tasks):
            out = stream(output, task)
            err = stream(error, task) or out
            running.append(_task(number, task, tasks, command, out, err))
        for task, child in enumerate(running):
            code = 2 if child is None else child.wait()
            codes.append(code)
            if code:
                _report(job, task, code)
    return min(codes) if min(codes) < 0 else max(codes)


def _task(
    step: int, task: int, tasks: int, command: list[str], out: IO[bytes] | None, err: IO[bytes] | None
) -> subprocess.Popen[bytes] | None:
    environment = {
        **os.environ,
        STEP: str(step),
        "SLURM_STEP_ID": str(step),
        "SLURM_STEPID": str(step),
        "SLURM_PROCID": str(task),
        "SLURM_LOCALID": str(task),
        "SLURM_NTASKS": str(tasks),
        "SLURM_NPROCS": str(tasks),
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_NODELIST": os.environ["SLURM_JOB_NODELIST"],
    }
    try:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=err)
    except FileNotFoundError:
        node = os.environ["SLURMD_NODENAME"]
        print(f"slurmstepd-{node}: error: execve(): {command[0]}: No such file or directory", file=sys.stderr)
        return None


def _report(job: Job, task: int, code: int) -> None:
    said = f"Exited with exit code {code}" if code > 0 else signal.strsignal(-code)
    print(f"srun: error: {job.node}: task {task}: {said}", file=sys.stderr, flush=True)
