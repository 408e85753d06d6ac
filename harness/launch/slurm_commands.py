"""Slurm's own commands, run without a shell and never waited for without end.

What Slurm says is a hint about jobs, not the truth about trials: that is in the run directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.errors import RequestError, one_line

SECONDS = 30.0
"""How long a command may take; a busy controller answers in seconds, an absent one never."""

LIVING = frozenset({"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD"})
"""States of jobs that run, or will."""

_SILENT = (
    "unable to contact",
    "connection refused",
    "connect failure",
    "timed out",
    "socket",
    "transport",
    "unexpected message",
)


class SlurmError(RequestError):
    """A Slurm command failed; the message is what it said."""


class SlurmSilent(SlurmError):
    """The controller, or the accounting, does not answer."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job, or one task of an array, that Slurm has not forgotten yet."""

    id: str
    """``12``, or ``12_3`` for a task of an array."""
    state: str
    """PENDING, RUNNING, …"""
    node: str
    reason: str
    """Why it waits; empty otherwise."""

    @property
    def living(self) -> bool:
        """Whether it runs, or will."""
        return self.state in LIVING


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What the accounting knows of a job."""

    state: str
    """COMPLETED, FAILED, OUT_OF_MEMORY, …; out of memory also where only a step of the job says so."""
    exit_code: str
    """``CODE:SIGNAL``."""


def call(*words: str, timeout: float = SECONDS, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints.

    Args:
        words: program and arguments; no shell reads them.
        timeout: seconds until it counts as silent.
        environment: instead of this process's own without the variables of a surrounding job.

    Raises:
        SlurmError: it failed, or is not installed.
        SlurmSilent: nobody answers it.
    """
    try:
        done = subprocess.run(
            words,
            env=dict(outer_environment() if environment is None else environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except FileNotFoundError as error:
        raise SlurmError(f"{words[0]}: not found; this machine has no Slurm commands on its PATH") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmSilent(f"{words[0]}: no answer from Slurm within {timeout:.0f} s") from error
    if done.returncode != 0:
        said = one_line(done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")
        kind = SlurmSilent if any(sign in said.lower() for sign in _SILENT) else SlurmError
        raise kind(said if said.startswith(words[0]) else f"{words[0]}: {said}")
    return done.stdout


def queue(job_name: str, timeout: float = SECONDS) -> list[QueuedJob]:
    """The jobs of that name, each task of an array by itself.

    Raises:
        SlurmError: squeue failed.
        SlurmSilent: the controller does not answer.
    """
    form = "%i|%T|%N|%r"
    words = ("squeue", "--noheader", "--array", f"--name={job_name}", "--states=all", f"--format={form}")
    jobs = []
    for line in call(*words, timeout=timeout).splitlines():
        job, state, node, reason = [*line.strip().split("|", 3), "", "", ""][:4]
        jobs.append(QueuedJob(job, state, node, "" if reason == "None" else reason))
    return jobs


def own_state(job: str, timeout: float = 5.0) -> str | None:
    """The state of one job by its own number; None when Slurm does not say."""
    try:
        return call("squeue", "--noheader", f"--jobs={job}", "--format=%T", timeout=timeout).strip() or None
    except SlurmError:
        return None


def accounting(ids: Sequence[str], timeout: float = SECONDS) -> dict[str, EndedJob]:
    """What the accounting knows of jobs and array tasks; those that it does not know are left out.

    Raises:
        SlurmError: there is no accounting, or sacct failed.
        SlurmSilent: the accounting does not answer.
    """
    if not ids:
        return {}
    listed = call(
        "sacct",
        "--noheader",
        "--parsable2",
        f"--jobs={','.join(ids)}",
        "--format=JobID,State,ExitCode",
        timeout=timeout,
    )
    found: dict[str, EndedJob] = {}
    for line in listed.splitlines():
        name, state, code = [*line.split("|"), "", ""][:3]
        job, _, step = name.partition(".")
        state = state.split(" ")[0]  # "CANCELLED by 0"
        if not step:
            found[job] = EndedJob(state, code)
        elif state == "OUT_OF_MEMORY" and job in found:
            # Slurm calls such a job FAILED; only its step tells why.
            found[job] = EndedJob(state, code)
    return found


def failed_nodes(job_name: str, timeout: float = SECONDS) -> Counter[str]:
    """How often each node failed under jobs of that name within a day.

    Raises:
        SlurmError: there is no accounting, or sacct failed.
        SlurmSilent: the accounting does not answer.
    """
    window = ("--starttime=now-1days", "--endtime=now", "--duplicates", "--allocations")
    words = ("sacct", "--noheader", "--parsable2", f"--name={job_name}", "--state=NODE_FAIL", *window)
    return Counter(line.strip() for line in call(*words, "--format=NodeList", timeout=timeout).splitlines() if line)


def outer_environment() -> dict[str, str]:
    """This process's environment as it was outside a job: Slurm's options for the job would apply to new ones."""
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or not name.startswith(("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SUBMITIT_", "PMI"))
    }


@contextmanager
def outside_of_a_job() -> Iterator[None]:
    """Let what is submitted in here see the environment of a login node."""
    before = dict(os.environ)
    kept = outer_environment() if "SLURM_JOB_ID" in before else before
    try:
        for name in before.keys() - kept.keys():
            del os.environ[name]
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def require_commands() -> None:
    """Raise SlurmError unless the commands that are needed are on the PATH."""
    for program in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
        if shutil.which(program) is None:
            raise SlurmError(
                f"{program}: not found; this machine has no Slurm. Log in to a login node of the cluster, "
                "or use --launcher local"
            )
