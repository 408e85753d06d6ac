"""What the Slurm launcher does: check the cluster, submit jobs, watch them, cancel them."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from harness.core.console import Console
from harness.core.errors import EXIT_DONE, RequestError
from harness.launch.display import Display
from harness.launch.slurm.checks import check_cluster
from harness.launch.slurm.commands import SlurmSilent, call, queue
from harness.launch.slurm.environment import chosen_cluster, use_cluster, use_cluster_of, with_defaults
from harness.launch.slurm.files import LaunchRecord, ProfileFacts, SlurmFiles
from harness.launch.slurm.job import run_worker
from harness.launch.slurm.profile import Profile, profile_of
from harness.launch.slurm.submit import MOST_WORKERS, Submission, job_name, top_up
from harness.run.code import take_snapshot
from harness.run.directory import RunDirectory
from harness.spec.sections import SweepSpec
from harness.studies.study import Roots, Study
from harness.work.scheduler import Scheduler

ASK_SECONDS = 15.0
"""How often Slurm is asked for the state of jobs while somebody watches."""
CANCEL_SECONDS = 30.0
"""Added to the grace time when jobs are to end: Slurm passes signals on in its own time."""


def submit(
    run: RunDirectory,
    spec: SweepSpec,
    profile: Profile,
    roots: Roots,
    scheduler: Scheduler,
    command: Sequence[str],
    console: Console,
) -> None:
    """Submit the jobs that the run is short of, and say what was submitted and how to watch it.

    Args:
        command: what to give again when no job is left.

    Raises:
        SlurmError: Slurm takes none of them, or does not answer.
    """
    files = SlurmFiles(run)
    earlier = files.launch() if files.exists else None
    cluster = _cluster(earlier)
    files.write_launch(
        {
            "job_name": job_name(spec.name) if earlier is None else earlier["job_name"],
            "workers": MOST_WORKERS if spec.launch.workers == "auto" else spec.launch.workers,
            "threads": spec.launch.threads,
            "trials_per_device": spec.launch.trials_per_device,
            "profile": cast(ProfileFacts, profile.model_dump(mode="json")),
            "cluster": cluster,
            "roots": {"data": str(roots.data), "cache": str(roots.cache)},
            "datasets": decoded_folders([state.study for state in scheduler.states]),
            "folder": str(Path.cwd()),
            "command": f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(command)}",
            "code": str(run.code_folder()),
        }
    )
    run.set_current_code(take_snapshot(run, spec.plugins).name)
    files.set_cancelled(False)
    submission = top_up(run, scheduler.claimable(), run_worker)
    _describe(submission, files.launch()["job_name"], run, console)


def check(run: RunDirectory, spec: SweepSpec, roots: Roots, console: Console) -> Profile:
    """The profile of the site; it fits the cluster.

    Raises:
        RequestError: it does not, or there is no Slurm here.
    """
    profile, notes = with_defaults(profile_of(spec.launch), os.environ)
    files = SlurmFiles(run)
    _cluster(files.launch() if files.exists else None)
    for place, path in (("--run-dir", run.path), ("the current folder", Path.cwd())):
        odd = sorted({sign for sign in str(path) if sign in "%\\" or not sign.isprintable()})
        if odd:
            signs = ", ".join(map(repr, odd))
            raise RequestError(f"{place}: {str(path)!r} holds {signs}, which Slurm reads as something else; move it")
    folders = {"data folder": roots.data, "cache folder": roots.cache}
    for note in notes + check_cluster(profile, run.path, call, folders):
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    return profile


def follow(run: RunDirectory, scheduler: Scheduler, console: Console) -> bool:
    """Show progress until nothing is left to do; False when the last job is gone and something is left.

    Raises:
        KeyboardInterrupt: the user has seen enough; the jobs go on.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    files, asked = SlurmFiles(run), time.monotonic()
    use_cluster_of(files.launch())
    name = files.launch()["job_name"]
    with Display(scheduler, files.launch()["workers"], console) as display:
        while not scheduler.complete():
            display.refresh()
            time.sleep(1.0)
            if time.monotonic() - asked > ASK_SECONDS:
                asked = time.monotonic()
                if not _anybody_left(name, files) and not scheduler.complete():
                    return False
    return True


def cancel(run: RunDirectory, console: Console) -> int:
    """End the jobs of a run: those that wait at once, those that run when they have written their checkpoints.

    Raises:
        RequestError: Slurm does not answer.
    """
    files = SlurmFiles(run)
    files.set_cancelled(True)
    launch = files.launch()
    use_cluster_of(launch)
    name = launch["job_name"]
    jobs = [job for job in queue(name) if job.living]
    call("scancel", f"--name={name}", "--state=PENDING")
    running = [job.id for job in jobs if job.state != "PENDING"]
    if running:
        call("scancel", "--batch", "--signal=USR2", *running)
    deadline = time.monotonic() + launch["profile"]["grace"] + CANCEL_SECONDS
    with console.status(f"{len(running)} running jobs write their checkpoints"):
        while (left := [job.id for job in queue(name) if job.living]) and time.monotonic() < deadline:
            time.sleep(1.0)
    if left:
        call("scancel", *left)
    console.print(f"cancelled {len(jobs)} jobs; the sweep command resumes from here", highlight=False)
    return EXIT_DONE


def decoded_folders(studies: list[Study]) -> list[str]:
    """Path of the decoded images of studies, of the backbones that they start from, and of their evaluations."""
    prepared = [study.dataset for study in studies] + [s.source.dataset for s in studies if s.source is not None]
    decoded = [entry.data for entry in prepared]
    decoded += [data for entry in prepared for one in entry.evaluations for data in one.external_data]
    return sorted({str(Path(os.fspath(data.images.filename)).parent) for data in decoded})  # type: ignore[attr-defined]


def _cluster(earlier: LaunchRecord | None) -> str | None:
    """The cluster of a launch, which this process's commands go to from now on.

    It stays what an earlier launch had, in whatever shell the command is given again, or its jobs would be looked for
    where they are not.

    Raises:
        RequestError: another one is named while jobs are left on that; or several are.
    """
    named = chosen_cluster(os.environ)
    before = None if earlier is None else earlier.get("cluster")
    if earlier is None or "cluster" not in earlier or named is None or named == before:
        use_cluster(named or before)
        return named or before
    use_cluster(before)
    living = sum(job.living for job in queue(earlier["job_name"]))
    where = "this machine's own cluster" if before is None else f"the cluster {before}"
    if living:
        raise RequestError(
            f"SLURM_CLUSTERS: {named!r}, but {living} jobs of this sweep are on {where}; cancel them first (--cancel)"
        )
    use_cluster(named)
    return named


def _anybody_left(name: str, files: SlurmFiles) -> bool:
    if any(record.running for record in files.latest_starts()):
        return True
    try:
        return any(job.living for job in queue(name))
    except SlurmSilent:
        return True  # nobody knows; files will tell


def _describe(submission: Submission, name: str, run: RunDirectory, console: Console) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    if submission.jobs:
        jobs = ", ".join(submission.jobs)
        say(f"submitted {submission.tasks} {'job' if submission.tasks == 1 else 'jobs'}: {jobs} (name {name})")
    if submission.living:
        say(f"{submission.living} {'was' if submission.living == 1 else 'were'} there before")
    if submission.refused:
        say(f"Slurm takes no more now ({submission.refused}); the rest follows as jobs end")
    say(f"watch: python -m harness.status {run.path} --watch")
    say("cancel: the same command with --cancel")
