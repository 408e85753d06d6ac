"""Submitting the jobs that a run is short of; by whoever notices: the user's command, or a job about to end."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from harness.core.errors import one_line
from harness.core.lease import hold
from harness.launch.packing import least
from harness.launch.slurm.checks import limits
from harness.launch.slurm.commands import SlurmError, call, failed_nodes, queue, run_program
from harness.launch.slurm.environment import outer_environment, outside_of_a_job, use_cluster_of
from harness.launch.slurm.files import LaunchRecord, SlurmFiles
from harness.launch.slurm.profile import Profile, python_command, sbatch_parameters, setup_lines
from harness.run.directory import RunDirectory

Work: TypeAlias = Callable[[str, int], str]
"""What a job runs, from the path of the run directory and its number: how it ended."""

NEVER = 1_000_000
"""Submitit counts interruptions and gives up after so many; a trial resumes from its checkpoint, so none count."""

SUBMIT_SECONDS = 120.0
"""How long sbatch may take: with a busy controller it tries again by itself, and sites check what is submitted."""

MOST_WORKERS = 16
"""Jobs of a sweep that does not say how many it wants."""

FAILURES_TO_AVOID = 2
"""New jobs stay away from a node that has failed so often within a day."""

_UNSUBMITTED = re.compile(r"[0-9a-f]{32}\.pkl|\.submission_file_[0-9a-f]{32}\.sh")
"""Files of submitit, named after a job as soon as there is one."""

_TOO_MANY = ("qos", "limit", "temporarily unable to accept", "policy")


@dataclass(frozen=True, slots=True)
class Submission:
    """What was submitted, and why no more."""

    jobs: list[str]
    """Arrays and single jobs, as Slurm numbers them."""
    tasks: int
    living: int
    """Jobs of the run that were running or waiting before."""
    refused: str = ""
    """What Slurm said to more jobs; they are submitted as others end."""


def job_name(sweep: str) -> str:
    """A name that no other run's jobs have."""
    return f"{sweep}-{secrets.token_hex(4)}"


def top_up(run: RunDirectory, claimable: int, work: Work) -> Submission:
    """Submit jobs until there is one for every trial that could begin, up to the number of workers wanted.

    Args:
        claimable: trials that nobody runs and that could begin now.
        work: what each job runs; jobs find it by its module and name.

    Raises:
        SlurmError: Slurm refuses every job, or does not answer.
    """
    files = SlurmFiles(run)
    with hold(files.lock):
        launch = files.launch()
        use_cluster_of(launch)
        living = [job for job in queue(launch["job_name"]) if job.living]
        waiting = sum(job.state == "PENDING" for job in living)
        places = places_in_a_job(launch)
        missing = min(launch["workers"] - len(living), math.ceil(claimable / places) - waiting)
        if files.cancelled or missing <= 0:
            return Submission([], 0, len(living))
        jobs, tasks, refused = _submit_all(run, files, launch, missing, work)
        if not jobs and not living:
            raise SlurmError(refused)
        return Submission(jobs, tasks, len(living), refused)


def places_in_a_job(launch: LaunchRecord) -> int:
    """Trials that one job runs at a time."""
    gpus = int(launch["profile"].get("gpus") or 0) if launch["profile"].get("device") != "cpu" else 0
    return max(1, gpus) * least(launch["trials_per_device"])


def _submit_all(
    run: RunDirectory, files: SlurmFiles, launch: LaunchRecord, missing: int, work: Work
) -> tuple[list[str], int, str]:
    """Array by array, as large as Slurm takes them; the limits of a site show when it refuses."""
    jobs: list[str] = []
    largest, tasks = min(missing, max(1, limits(call).max_array_size)), 0
    while tasks < missing:
        size = min(largest, missing - tasks)
        try:
            job = _submit(run, files, launch, size, work)
        except SlurmError as error:
            if not any(sign in str(error).lower() for sign in _TOO_MANY):
                if jobs:
                    return jobs, tasks, str(error)
                raise
            if size == 1:
                return jobs, tasks, str(error)
            largest = size // 2
            continue
        files.record_submission(job, size)
        jobs.append(job)
        tasks += size
    return jobs, tasks, ""


def _submit(run: RunDirectory, files: SlurmFiles, launch: LaunchRecord, count: int, work: Work) -> str:
    """Submit one array of jobs; returns its number."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    profile = Profile.model_validate(launch["profile"])
    avoided = [node for node in _failing_nodes(files, launch["job_name"]) if node not in profile.exclude]
    parameters = sbatch_parameters(profile.model_copy(update={"exclude": [*profile.exclude, *avoided]}))
    options = {
        **parameters.pop("additional_parameters", {}),
        # To the batch script alone, which is the worker's own process: steps would need srun.
        "signal": f"B:USR2@{profile.grace}",
        "requeue": True,
        "chdir": launch["folder"],
    }
    with outside_of_a_job(), bounded_submission():
        executor = submitit.SlurmExecutor(files.log, max_num_timeout=NEVER, python=python_command(profile))
        executor.update_parameters(
            job_name=launch["job_name"],
            setup=["trap '' USR2 TERM", *setup_lines(profile), *_program(launch)],
            additional_parameters=options,
            array_parallelism=count,
            stderr_to_stdout=True,
            **parameters,
        )
        before = set(files.log.glob("*")) if files.log.exists() else set()
        try:
            if count == 1:
                jobs = [executor.submit(work, str(run.path), 0)]
            else:
                jobs = executor.map_array(work, [str(run.path)] * count, range(count))
        except (FailedJobError, FailedSubmissionError, SlurmError) as error:
            for path in set(files.log.glob("*")) - before:
                if _UNSUBMITTED.fullmatch(path.name):
                    path.unlink()
            if isinstance(error, SlurmError):
                raise
            raise SlurmError(_words_of_sbatch(str(error))) from error
    return str(jobs[0].job_id).partition("_")[0]


@contextmanager
def bounded_submission() -> Iterator[None]:
    """Let submitit run sbatch as every other Slurm command is run; its own way waits without end, and shares input."""
    from submitit.core import utils

    class Bounded:
        def __init__(self, command: Sequence[str], verbose: bool = True) -> None:
            self._command = command

        def __call__(self) -> str:
            done = run_program(self._command, outer_environment(), SUBMIT_SECONDS)
            if done.code != 0:
                raise utils.FailedJobError(done.errors.strip() or done.output.strip() or f"exit code {done.code}")
            return done.output.strip()

    before = utils.CommandFunction
    utils.CommandFunction = Bounded  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        utils.CommandFunction = before  # type: ignore[misc]


def _failing_nodes(files: SlurmFiles, name: str) -> list[str]:
    """Nodes that failed under this run again and again; none where there is no accounting to ask, or no other node."""
    try:
        failing = {node for node, count in failed_nodes(name).items() if count >= FAILURES_TO_AVOID}
    except SlurmError:
        return []
    others = {record.content["host"] for record in files.jobs()} - failing
    return sorted(failing) if others else []


def _program(launch: LaunchRecord) -> list[str]:
    """So that a job imports the copy of the code that is current when it begins, wherever Python would look first.

    Until it ends it stays with that one. Its current folder is looked into last, as by local workers.
    """
    import shlex

    code, folder = shlex.quote(launch["code"]), shlex.quote(launch["folder"])
    return [
        f'export PYTHONPATH={code}/"$(cat {code}/current)"${{PYTHONPATH:+:$PYTHONPATH}}:{folder}',
        "export PYTHONSAFEPATH=1",
    ]


def _words_of_sbatch(message: str) -> str:
    lines = [one_line(line) for line in message.splitlines() if "error:" in line]
    said = "; ".join(line.partition("error:")[2].strip() for line in lines) or one_line(message)
    return f"sbatch: {said}"
