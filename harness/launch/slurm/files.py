"""What a run directory knows of its Slurm jobs; correct while Slurm is silent.

RUN/slurm/launch.json          what was asked for: profile, number of workers, name of the jobs
RUN/slurm/submitted/ID.json    an array that was submitted
RUN/slurm/jobs/NAME.json       one start of one job, by whom and how it ended; renewed while it runs
RUN/slurm/jobs/NAME.reports/   what its workers are at
RUN/slurm/cancelled            the user wants no more jobs
RUN/slurm/log/                 what jobs print, and submitit's files
RUN/slurm/lock/                whose turn it is to submit
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from harness.core.clock import server_now
from harness.core.files import encode_json, update_json, write_atomic, write_exclusive
from harness.core.json_form import Form, Within
from harness.run.directory import RunDirectory

RENEW_SECONDS = 30.0
MOST_TASKS = 1_000_000
"""More tasks than any Slurm admits in an array."""
STALE_SECONDS = 150.0
"""A job whose file was not renewed for so long has gone, or its node hangs."""


class _Roots(TypedDict):
    data: str
    cache: str


class ProfileFacts(TypedDict):
    """A profile, as ``Profile`` is dumped: what a job reads of it without loading that."""

    device: NotRequired[Literal["auto", "cpu", "cuda"]]
    gpus: NotRequired[int | None]
    cpus: NotRequired[int | None]
    time: NotRequired[int]
    grace: NotRequired[int]
    scratch: NotRequired[str | None]


class LaunchRecord(TypedDict):
    """``launch.json``: what was asked for."""

    job_name: str
    workers: Annotated[int, Within(ge=1, lt=2**31)]
    threads: NotRequired[int | Literal["auto"]]
    trials_per_device: NotRequired[int | Literal["auto"]]
    profile: ProfileFacts
    """As ``Profile`` dumps it."""
    cluster: NotRequired[str | None]
    roots: NotRequired[_Roots]
    datasets: NotRequired[list[str]]
    """Folders of decoded images."""
    folder: NotRequired[str]
    """Where the sweep command was given."""
    command: NotRequired[str]
    code: NotRequired[str]


class SubmissionRecord(TypedDict):
    """``submitted/ID.json``: an array that was submitted."""

    job: str
    tasks: Annotated[int, Within(ge=1, le=MOST_TASKS)]
    submitted: float


class JobContent(TypedDict):
    """``jobs/NAME.json``: what one start of a job says of itself."""

    job: str
    restart: NotRequired[int]
    host: NotRequired[str]
    pid: NotRequired[int]
    started: NotRequired[float]
    until: NotRequired[float]
    state: str
    reason: NotRequired[str]
    idle_since: NotRequired[float | None]
    ended: NotRequired[float]


LAUNCH: Form[LaunchRecord] = Form(LaunchRecord)
SUBMISSION: Form[SubmissionRecord] = Form(SubmissionRecord)
JOB: Form[JobContent] = Form(JobContent)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One start of one job."""

    path: Path
    content: JobContent
    age: float
    """Seconds since it was renewed."""

    @property
    def name(self) -> str:
        """The job with the number of its start."""
        return self.path.stem

    @property
    def running(self) -> bool:
        """Whether it says that it runs, and did so lately."""
        return self.content.get("state") == "running" and self.age < STALE_SECONDS

    @property
    def idle_since(self) -> float | None:
        """Since when none of its workers has anything to do; None while one has."""
        return self.content.get("idle_since")


class SlurmFiles:
    """The files about Slurm jobs in a run directory."""

    def __init__(self, run: RunDirectory) -> None:
        self.root = run.path / "slurm"

    @property
    def exists(self) -> bool:
        """Whether the run was ever launched on Slurm."""
        return (self.root / "launch.json").exists()

    def write_launch(self, launch: LaunchRecord) -> None:
        """Record what was asked for."""
        self.root.mkdir(parents=True, exist_ok=True)
        update_json(self.root / "launch.json", dict(launch))

    def launch(self) -> LaunchRecord:
        """What was asked for.

        Raises:
            TornFileError: the file is not readable.
        """
        return LAUNCH.read(self.root / "launch.json")

    def documents(self) -> list[tuple[Path, Form[Any]]]:
        """Every JSON file with what it must hold."""
        found: list[tuple[Path, Form[Any]]] = [(self.root / "launch.json", LAUNCH)]
        found += [(path, SUBMISSION) for path in sorted((self.root / "submitted").glob("*.json"))]
        found += [(path, JOB) for path in sorted((self.root / "jobs").glob("*.json"))]
        return found

    @property
    def log(self) -> Path:
        """Folder of what jobs print."""
        return self.root / "log"

    @property
    def lock(self) -> Path:
        """The folder whose lease says whose turn it is to submit."""
        folder = self.root / "lock"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def record_submission(self, job: str, tasks: int) -> None:
        """Record an array, or a single job, that was submitted."""
        folder = self.root / "submitted"
        folder.mkdir(parents=True, exist_ok=True)
        facts: SubmissionRecord = {"job": job, "tasks": tasks, "submitted": time.time()}
        write_exclusive(folder / f"{job}-{secrets.token_hex(4)}.json", encode_json(facts))

    def submissions(self) -> list[SubmissionRecord]:
        """What was submitted, oldest first."""
        found = [SUBMISSION.read(path) for path in (self.root / "submitted").glob("*.json")]
        return sorted(found, key=lambda entry: float(entry["submitted"]))

    def job_path(self, job: str, restart: int) -> Path:
        """The file of one start of a job; two copies of a job that run at once have one each."""
        folder = self.root / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob(f"{job}r{restart}*.json")))
        return folder / f"{job}r{restart}{f'-{number}' if number else ''}.json"

    def write_job(self, path: Path, content: JobContent) -> None:
        """Replace what one start of a job says of itself; need not survive a power failure."""
        write_atomic(path, encode_json(content))

    def jobs(self) -> list[JobRecord]:
        """Every start of every job."""
        paths = sorted((self.root / "jobs").glob("*.json"))
        now = server_now(self.root / "jobs") if paths else 0.0
        return [JobRecord(path, JOB.read(path), now - path.stat().st_mtime) for path in paths]

    def latest_starts(self) -> list[JobRecord]:
        """The newest start of every job: what an earlier one said last is history, however fresh."""
        found = {}
        for record in sorted(self.jobs(), key=lambda r: (int(r.content.get("restart", 0)), r.content["started"])):
            found[record.content["job"]] = record
        return list(found.values())

    def reports(self, job: Path) -> Path:
        """Where the workers of one start of a job tell what they are at."""
        folder = job.with_suffix(".reports")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def cancelled(self) -> bool:
        """Whether the user wants no more jobs."""
        return (self.root / "cancelled").exists()

    def set_cancelled(self, wanted: bool) -> None:
        """Say that no more jobs are wanted, or are again."""
        if wanted:
            write_atomic(self.root / "cancelled", b"")
        else:
            (self.root / "cancelled").unlink(missing_ok=True)
