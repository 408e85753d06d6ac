"""What runs in a Slurm job: the workers of one node, their signals, and what happens to the job at its end.

Slurm's signals reach this process alone. It asks its workers for checkpoints, and then has the job started again
where work is left; where it is killed before that, Slurm's own requeue does the same, because nothing of importance
is in what was submitted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from harness.core.errors import RequestError, one_line
from harness.core.output import complain
from harness.core.owner import slurm_start
from harness.core.visible_gpus import VARIABLE, devices_of
from harness.launch.packing import Packing, least, most_workers
from harness.launch.pool import WorkerPool
from harness.launch.slurm.commands import SlurmError, call, own_state
from harness.launch.slurm.files import RENEW_SECONDS, JobContent, SlurmFiles
from harness.run.directory import RunDirectory

if TYPE_CHECKING:
    from harness.studies.study import Roots

LEAVE_SECONDS = 120.0
"""A job without work gives its place back after so long, if another one stays to see what happens."""
TOP_UP_SECONDS = 60.0
"""Slurm is asked for more jobs at most so often by one job."""
LAST_SECONDS = 5.0
"""Kept of the grace time for the requeue itself."""
WILL_START_AGAIN = frozenset({"COMPLETING", "PENDING", "REQUEUED", "REQUEUE_HOLD"})
"""States of a job whose requeue Slurm has accepted and that has not ended yet; one that is refused stays RUNNING."""
DEATH_SECONDS = 120.0
"""How long Slurm may take to end a job that it has agreed to start again."""


def run_worker(run_dir: str, number: int) -> str:
    """Run trials in this job until nothing is left or its time is up; how it ended.

    Args:
        run_dir: the run directory.
        number: which of the submitted workers this is; nothing depends on it.

    Raises:
        RequestError: the workers cannot go on here.
    """
    job = SlurmJob(RunDirectory(Path(run_dir)))
    job.catch_signals()
    return job.run()


@dataclass
class SlurmJob:
    """One start of one job."""

    store: RunDirectory
    _told: threading.Event = field(default_factory=threading.Event)
    _terminated: bool = False
    _interruptible: bool = False

    def __post_init__(self) -> None:
        self._files = SlurmFiles(self.store)
        self._launch = self._files.launch()
        self._profile = self._launch["profile"]
        start = slurm_start()
        job = start["slurm_job"]
        assert job is not None
        self._path = self._files.job_path(job, start["slurm_restart"])
        self._content: JobContent = {
            "job": job,
            "restart": start["slurm_restart"],
            "host": os.environ.get("SLURMD_NODENAME", ""),
            "pid": os.getpid(),
            "started": time.time(),
            "until": self._end_of_time(),
            "state": "running",
        }
        self._renewed = 0.0
        self._idle_from = math.inf
        """Since when there is nothing to do, on a clock that nobody sets."""
        self._acted_on, self._topped_up = 0.0, 0.0

    def catch_signals(self) -> None:
        """USR2: the end is near; TERM: the end is here. Both ask for checkpoints."""

        def handle(number: int, frame: FrameType | None) -> None:
            first = not self._told.is_set()
            self._terminated = self._terminated or number == signal.SIGTERM
            self._told.set()
            if first and self._interruptible:
                raise KeyboardInterrupt

        signal.signal(signal.SIGUSR2, handle)
        signal.signal(signal.SIGTERM, handle)

    def run(self) -> str:
        """Run workers until an end; returns it."""
        self._say("running")
        pool: WorkerPool | None = None
        try:
            pool = self._pool()
            with self._interrupted():
                # Workers' modules are loaded while this process looks after the data.
                pool.prepare()
                pool.roots = self._staged(pool.roots)
                pool.start()
                outcome = self._watch(pool)
        except KeyboardInterrupt:
            outcome = "told"
        except RequestError as error:
            self._say("refused", one_line(str(error)))
            raise
        except Exception as error:
            self._say("failed", one_line(f"{type(error).__name__}: {error}"))
            raise
        finally:
            if pool is not None:
                pool.stop(_print, self._seconds_to_stop())
        if outcome == "told":
            outcome = "done" if pool is not None and pool.done else self._start_again()
        else:
            self._say(outcome)
        return outcome

    @contextlib.contextmanager
    def _interrupted(self) -> Iterator[None]:
        """Let the first signal raise KeyboardInterrupt at once: copying, loading and submitting may take long."""
        self._interruptible = True
        try:
            if self._told.is_set():
                raise KeyboardInterrupt
            yield
        finally:
            self._interruptible = False

    def _watch(self, pool: WorkerPool) -> str:
        while not self._told.is_set() and not self._time_is_up():
            if not pool.poll():
                return "done"
            self._look_at(pool)
            if self._may_leave():
                return "idle"
            if time.monotonic() - self._renewed > RENEW_SECONDS:
                self._say("running")
                if self._files.cancelled:
                    break
            pool.pause()
        return "told"

    def _look_at(self, pool: WorkerPool) -> None:
        """Note whether the workers have anything to do, and have more jobs submitted where they leave something."""
        reports = pool.at()
        idle = len(reports) == pool.running and all(report.trial is None for report in reports)
        if idle != ("idle_since" in self._content):
            self._content.pop("idle_since", None)
            self._idle_from = time.monotonic() if idle else math.inf
            if idle:
                self._content["idle_since"] = time.time()
            self._say("running")
        newest = max(reports, key=lambda report: report.since, default=None)
        due = time.monotonic() - self._topped_up > TOP_UP_SECONDS
        if newest is not None and newest.claimable > 0 and newest.since > self._acted_on and due:
            self._acted_on, self._topped_up = newest.since, time.monotonic()
            self._top_up(newest.claimable)

    def _may_leave(self) -> bool:
        if time.monotonic() - self._idle_from < LEAVE_SECONDS:
            return False
        others = [record for record in self._files.latest_starts() if record.running and record.idle_since is not None]
        return any(record.name < self._path.stem for record in others)

    def _start_again(self) -> str:
        """Have Slurm start this job once more, or another one in its place."""
        if self._files.cancelled:
            self._say("stopped", "cancelled")
            return "stopped"
        number = os.environ["SLURM_JOB_ID"]
        # At a job's end Slurm sends TERM, and so it does to announce a preemption; only the latter leaves it running.
        if self._terminated and own_state(number) not in ("RUNNING", "PREEMPTED"):
            self._say("stopped", "ended by Slurm")
            return "stopped"
        self._say("requeued")
        try:
            call("scontrol", "requeue", number)
        except SlurmError as error:
            # The TERM that follows an accepted requeue may end the command that asked for it.
            if own_state(number) not in WILL_START_AGAIN:
                return self._replace(error)
        # An exit now could be taken for the job's own end.
        deadline = time.monotonic() + DEATH_SECONDS
        while not self._terminated and time.monotonic() < deadline:
            time.sleep(0.1)
        return "requeued"

    def _replace(self, error: SlurmError) -> str:
        _print(f"not requeued ({error}); submitting another job instead")
        self._say("stopped", one_line(str(error)))
        from harness.launch.slurm.submit import places_in_a_job

        self._top_up(places_in_a_job(self._launch))
        return "stopped"

    def _top_up(self, claimable: int) -> None:
        from harness.launch.slurm.submit import top_up

        try:
            submission = top_up(self.store, claimable, run_worker)
        except SlurmError as error:
            _print(f"no more jobs submitted: {error}")
            return
        if submission.jobs:
            _print(f"submitted {submission.tasks} more: {', '.join(submission.jobs)}")

    def _pool(self) -> WorkerPool:
        devices = self._devices()
        wanted = self._launch["trials_per_device"]
        count = len(devices) * least(wanted)
        cpus = int(os.environ.get("SLURM_CPUS_ON_NODE") or self._profile["cpus"] or 1)
        cores = min(cpus, len(os.sched_getaffinity(0)))
        threads = self._launch["threads"]
        most = most_workers(len(devices), cores) if wanted == "auto" and devices != ["cpu"] else 1
        return WorkerPool(
            run=self.store,
            roots=self._roots(),
            count=count,
            threads=max(1, cores // (count * most)) if threads == "auto" else int(threads),
            devices=devices,
            name=f"{self._path.stem}",
            reports=self._files.reports(self._path),
            arguments=["--until", str(self._stop_at()), "--share", str(least(wanted))],
            packing=Packing(most) if most > 1 else None,
        )

    def _devices(self) -> list[str]:
        wanted, gpus = self._profile["device"], int(self._profile["gpus"] or 0)
        if wanted == "cpu" or (wanted == "auto" and gpus == 0):
            return ["cpu"]
        value = os.environ.get(VARIABLE)
        found = devices_of(value, max(1, gpus))
        if not found:
            where = os.environ.get("SLURMD_NODENAME", "this node")
            raise RequestError(
                f"{VARIABLE} is {value!r}: Slurm gave this job no GPU on {where}; compare the profile's gpus with "
                f"`scontrol show node {where}` (Gres), and leave the node out with exclude if it has none"
            )
        return found

    def _roots(self) -> Roots:
        from harness.studies.study import Roots

        return Roots(Path(self._launch["roots"]["data"]), Path(self._launch["roots"]["cache"]))

    def _staged(self, roots: Roots) -> Roots:
        """Where workers find data: on the node's own disk, if the profile names one."""
        scratch = self._profile.get("scratch")
        if not scratch:
            return roots
        from harness.launch.slurm.staging import stage

        folder = Path(os.path.expandvars(scratch))
        datasets = [Path(path) for path in self._launch["datasets"]]
        # The next start copies what this one could not.
        return dataclasses.replace(roots, cache=stage(datasets, roots.cache, folder, _print))

    def _end_of_time(self) -> float:
        """When Slurm will end this job, seconds since the epoch."""
        told = os.environ.get("SLURM_JOB_END_TIME", "")
        return float(told) if told.isdigit() else time.time() + 60.0 * int(self._profile["time"])

    def _stop_at(self) -> float:
        return float(self._content["until"]) - float(self._profile["grace"])

    def _time_is_up(self) -> bool:
        return time.time() >= self._stop_at()

    def _seconds_to_stop(self) -> float:
        left = float(self._content["until"]) - time.time() if self._time_is_up() else math.inf
        return max(1.0, min(float(self._profile["grace"]), left) - LAST_SECONDS)

    def _say(self, state: str, reason: str = "") -> None:
        self._content |= {"state": state, "reason": reason}
        if state != "running":
            self._content["ended"] = time.time()
        self._files.write_job(self._path, self._content)
        self._renewed = time.monotonic()


def _print(text: str) -> None:
    complain(f"{time.strftime('%F %T')} {text}")
