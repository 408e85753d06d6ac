"""Slurm's jobs and what the run directory says of them: damaged records, and what only one of the two knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.core.clock import server_now
from harness.doctor.finding import Finding
from harness.doctor.json_files import read
from harness.launch.slurm.commands import QueuedJob, SlurmError, queue
from harness.launch.slurm.files import SlurmFiles
from harness.run.directory import RunDirectory
from harness.status.workers import QUEUE_SECONDS, WorkerReader

_EXPLAINED = {
    "lost": "Slurm no longer knows it; its trials are free as soon as their leases expire",
    "not responding": "Slurm says that it runs, but its files are not renewed: its node hangs or lost the file system",
}


def examine(run: RunDirectory) -> Iterator[Finding]:
    """Everything that is wrong about the run's jobs; nothing where it was never launched on Slurm."""
    files = SlurmFiles(run)
    if not files.exists:
        return
    damaged = list(_damaged(files))
    yield from damaged
    if damaged:
        return
    try:
        queued = queue(str(files.launch()["job_name"]), timeout=QUEUE_SECONDS)
    except SlurmError as error:
        what = f"Slurm could not be asked about jobs: {error}"
        yield Finding("Slurm", files.root, what, "run the command again when it answers", by="nobody")
        return
    yield from _unknown(files, queued)
    workers = WorkerReader(run).read([], server_now(files.root), complete=False)
    for worker in workers.states:
        if worker.state in _EXPLAINED and _unsettled(files, worker.id):
            what = _EXPLAINED[worker.state] + (f" ({worker.reason})" if worker.reason else "")
            yield Finding(
                f"{worker.state} job", files.root, f"{worker.id}: {what}", "the sweep submits others", by="sweep"
            )


def _damaged(files: SlurmFiles) -> Iterator[Finding]:
    for path, form in files.documents():
        found = read(path, form)
        if found.fault is not None and found.fault != "missing":
            remedy = "--fix sets it aside; the sweep command and the jobs write what they need again"
            yield Finding(found.fault, path, found.what, remedy, aside=(path,), damage=True)


def _unknown(files: SlurmFiles, queued: Sequence[QueuedJob]) -> Iterator[Finding]:
    """Jobs under this run's name that no file speaks of: who submitted them died before it could write that down."""
    known = {str(entry["job"]) for entry in files.submissions()}
    known |= {str(record.content["job"]).partition("_")[0] for record in files.jobs()}
    arrays: dict[str, list[QueuedJob]] = {}
    for job in queued:
        if job.living and job.id.partition("_")[0] not in known:
            arrays.setdefault(job.id.partition("_")[0], []).append(job)
    for number, jobs in arrays.items():
        tasks = 1 + max((int(job.id.partition("_")[2] or 0) for job in jobs), default=0)
        what = f"job {number} ({len(jobs)} in the queue) runs for this run, which has no record of it"
        yield Finding(
            "unknown job", files.root, what, "--fix records it",
            act=lambda number=number, tasks=tasks: files.record_submission(number, tasks),  # type: ignore[misc]
        )  # fmt: skip


def _unsettled(files: SlurmFiles, job: str) -> bool:
    """Whether the last that a job said of itself is that it runs; one that never spoke was never begun."""
    said = [record.content["state"] for record in files.jobs() if str(record.content["job"]) == job]
    return bool(said) and said[-1] == "running"
