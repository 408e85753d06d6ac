"""Which job starts next, and what becomes of one that has ended."""

from __future__ import annotations

import time
from pathlib import Path

from .processes import start
from .settings import Settings, load_settings
from .state import Job, State, changing

REQUEUED = {"REQUEUED", "PREEMPTED", "NODE_FAIL"}
"""Ends after which a job may start again."""


def schedule(folder: Path) -> None:
    """Start every job that may start now; nothing starts while the controller is away."""
    settings = load_settings(folder)
    with changing(folder) as state:
        for job in [] if state.silent else state.jobs:
            if job.state == "PENDING":
                job.reason = _obstacle(state, job, settings)
                if job.reason == "None":
                    _start(state, job, settings)


def wake(folder: Path, at: float) -> None:
    """Sleep until a time, then start what may start."""
    time.sleep(max(0.0, at - time.time()))
    schedule(folder)


def end(job: Job, code: int, settings: Settings) -> bool:
    """Write into a job how its start ended; whether it waits to be started again.

    Args:
        job: the one that has ended.
        code: exit code of its script, or the negative number of the signal that ended it.
        settings: of the cluster.
    """
    job.ended = time.time()
    job.code, job.signal = (0, -code) if code < 0 else (code, 0)
    becoming = job.end_as if job.state == "COMPLETING" else ""
    if not becoming:
        job.state = "FAILED" if code else "COMPLETED"
        job.reason = "None" if not code else ("JobLaunchFailure" if code < 0 else "NonZeroExitCode")
    else:
        job.code = job.signal = 0
        job.state = becoming
        job.reason = {"TIMEOUT": "TimeLimit", "NODE_FAIL": "NodeDown"}.get(becoming, "None")
    job.supervisor = job.shell = None
    job.gpus = []
    partition = settings.partition(job.request.partition)
    cancelled = becoming == "PREEMPTED" and partition is not None and partition.preempt == "CANCEL"
    again = becoming == "REQUEUED" or (becoming in REQUEUED and job.request.requeue and not cancelled)
    if again:
        requeue(job, settings)
    return again


def requeue(job: Job, settings: Settings) -> None:
    """Put a job that has ended, or whose processes are left to themselves, back into the queue."""
    job.history.append(job.past())
    job.state, job.reason, job.begin = "PENDING", "BeginTime", time.time() + settings.requeue_delay
    job.started = job.ended = job.signal_at = job.end_at = job.kill_at = None
    job.supervisor = job.shell = None
    job.end_as, job.terminated, job.node, job.gpus, job.steps = "", False, "", [], []
    job.code = job.signal = 0


def stop(job: Job, becoming: str, settings: Settings) -> None:
    """Begin a running job's end: SIGTERM, and SIGKILL when ``kill_wait`` has passed.

    Its supervisor sends them: a command that a job gives about itself is over by then.
    """
    job.state, job.end_as, job.terminated = "COMPLETING", becoming, False
    job.kill_at = time.time() + settings.kill_wait


def _obstacle(state: State, job: Job, settings: Settings) -> str:
    running = [other for other in state.jobs if other.state in ("RUNNING", "COMPLETING")]
    if job.begin > time.time():
        return "BeginTime"
    if any(other.living for number in job.request.after for other in state.named(str(number))):
        return "Dependency"
    throttle = job.request.throttle
    if throttle is not None and sum(other.array == job.array for other in running) >= throttle:
        return "JobArrayTaskLimit"
    if len(running) >= settings.running or _place(state, job, settings) is None:
        return "Resources"
    return "None"


def _place(state: State, job: Job, settings: Settings) -> tuple[str, list[int]] | None:
    """A node that has room, with the GPUs that are free there."""
    for node in settings.node_names:
        there = [other for other in state.jobs if other.node == node and other.state in ("RUNNING", "COMPLETING")]
        busy = {gpu for other in there for gpu in other.gpus}
        free = [gpu for gpu in range(settings.gpus) if gpu not in busy]
        used = sum(processors(other) for other in there)
        room = used + processors(job) <= settings.cpus and len(free) >= job.request.gpus
        if node not in job.request.excluded and room:
            return node, free[: job.request.gpus]
    return None


def processors(job: Job) -> int:
    """How many it occupies."""
    return job.request.cpus * (job.request.tasks or 1)


def _start(state: State, job: Job, settings: Settings) -> None:
    place = _place(state, job, settings)
    if place is None:
        raise AssertionError(f"{job.label}: no place, although there was no obstacle")
    if job.unsplit and sum(other.array == job.array and other.unsplit for other in state.jobs) > 1:
        job.id = state.new_id()
    job.node, job.gpus = place
    job.starts += 1
    now = time.time()
    job.state, job.started = "RUNNING", now
    job.end_at, job.end_as = now + 60 * job.request.minutes, ""
    job.signal_at = job.end_at - job.request.signal_seconds if job.request.signal else None
    job.supervisor = start(state.folder, "supervise", job.label)


def wake_later(folder: Path, settings: Settings) -> None:
    """Have the queue looked at when a job that was requeued now may start."""
    start(folder, "wake", str(time.time() + settings.requeue_delay + 0.02))
