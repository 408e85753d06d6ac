"""Slurm's own commands, run without a shell and never waited for without end.

What Slurm says is a hint about jobs, not the truth about trials: that is in the run directory.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.errors import RequestError, one_line
from harness.launch.bounded import MOST_BYTES, CommandOutput, TooMuchOutput, run_bounded
from harness.launch.slurm.environment import reading_environment

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


def call(*words: str, timeout: float = SECONDS) -> str:
    """What a command prints; its environment is ``slurm_environment.reading_environment``.

    Args:
        words: program and arguments; no shell reads them.
        timeout: seconds until it counts as silent.

    Raises:
        SlurmError: it failed, is not installed, or prints without end.
        SlurmSilent: nobody answers it, or this machine cannot start it now.
    """
    done = run_program(words, reading_environment(), timeout)
    if done.code != 0:
        said = one_line(done.errors.strip() or done.output.strip() or f"exit code {done.code}")
        kind = SlurmSilent if any(sign in said.lower() for sign in _SILENT) else SlurmError
        raise kind(said if said.startswith(words[0]) else f"{words[0]}: {said}")
    return done.output


def run_program(words: Sequence[str], environment: Mapping[str, str], timeout: float) -> CommandOutput:
    """Run one of Slurm's programs to its end, whatever its exit code.

    Raises:
        SlurmError: it is not installed, or prints without end.
        SlurmSilent: it took too long, or this machine cannot start it now.
    """
    try:
        return run_bounded(words, environment, timeout)
    except FileNotFoundError as error:
        raise SlurmError(f"{words[0]}: not found; this machine has no Slurm commands on its PATH") from error
    except PermissionError as error:
        raise SlurmError(f"{words[0]}: {error.strerror}; see `type -a {words[0]}`") from error
    except OSError as error:
        # Too many processes or open files: it says nothing about jobs.
        raise SlurmSilent(f"{words[0]}: cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmSilent(f"{words[0]}: no answer from Slurm within {timeout:.0f} s") from error
    except TooMuchOutput as error:
        raise SlurmError(
            f"{words[0]}: printed more than {MOST_BYTES >> 20} MB and was ended; see `type -a {words[0]}`"
        ) from error


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
    listed = "".join(
        call(
            "sacct",
            "--noheader",
            "--parsable2",
            f"--jobs={','.join(part)}",
            "--format=JobID,State,ExitCode",
            timeout=timeout,
        )
        # An argument of a command may have 128 KiB.
        for part in (ids[start : start + 1000] for start in range(0, len(ids), 1000))
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


def require_commands() -> None:
    """Raise SlurmError unless the commands that are needed are on the PATH."""
    for program in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
        if shutil.which(program) is None:
            raise SlurmError(
                f"{program}: not found; this machine has no Slurm. Log in to a login node of the cluster, "
                "or use --launcher local"
            )
