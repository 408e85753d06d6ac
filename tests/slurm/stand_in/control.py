"""What a test does to the pretended cluster, and what no user's command can do."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .processes import ProcessId, end_all, of_folder, of_job
from .scheduler import end, requeue, schedule, wake_later
from .scontrol import requeue_job
from .settings import load_settings
from .state import FINAL, Job, State, changing, look

POLL_SECONDS = 0.05


class StandIn:
    """A cluster that `install` has made.

    Jobs are named as squeue names them: ``12``, or ``12_3`` for a task of an array. Every method that names one raises
    ValueError when there is no such job, or it is in no state for what is asked.

    Args:
        folder: the one that was given to `install`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.bin = self.folder / "bin"
        self.settings = load_settings(self.folder)

    def run(self, *words: str, text: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run one of the programs, with a text on its standard input; jobs find the others on their PATH."""
        command = [str(self.bin / words[0]), *words[1:]]
        environment = {**os.environ, "PATH": os.pathsep.join((str(self.bin), os.environ["PATH"]))}
        return subprocess.run(
            command, input=text, capture_output=True, text=True, cwd=cwd, env=environment, timeout=60, check=False
        )

    def submissions(self) -> list[dict[str, Any]]:
        """Everything that sbatch was called with, in order.

        ``arguments`` as they came, ``folder``, ``time``; where it got so far ``script`` and ``options`` (long names to
        values, those of the script's directives included); and ``job`` or ``refused``.
        """
        path = self.folder / "submissions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def jobs(self) -> dict[str, Job]:
        """All jobs and tasks of arrays."""
        return {job.label: job for job in look(self.folder).jobs}

    def wait_for(self, job: str, *states: str, seconds: float = 30.0) -> Job:
        """Wait until a job, or every task of an array, is in one of some states; the last one then.

        Raises:
            TimeoutError: it took longer.
        """
        return self.wait_until(job, lambda one: one.state in states, f"not {' or '.join(states)}", seconds)

    def wait_until(self, job: str, test: Callable[[Job], bool], failure: str, seconds: float = 30.0) -> Job:
        """Wait until a job, or every task of an array, passes a test; the last one then.

        Raises:
            TimeoutError: it took longer; ``failure`` says what did not happen.
        """
        until = time.monotonic() + seconds
        while True:
            found = self._named(look(self.folder), job)
            if all(map(test, found)):
                return found[-1]
            if time.monotonic() > until:
                raise TimeoutError(f"{failure}: {', '.join(f'{one.label} {one.state}' for one in found)}")
            time.sleep(POLL_SECONDS)

    def preempt(self, job: str) -> None:
        """Send what ``--signal`` asked for, and end the job after ``grace`` seconds.

        It is requeued, unless its partition cancels or it must not be.
        """
        self._give_notice(job, "PREEMPTED")

    def time_limit(self, job: str) -> None:
        """Send what ``--signal`` asked for, and end the job with TIMEOUT after ``grace`` seconds."""
        self._give_notice(job, "TIMEOUT")

    def node_failure(self, job: str) -> None:
        """Kill all processes of a job; the accounting says NODE_FAIL until it may start again."""
        with changing(self.folder) as state:
            found = self._running(state, job)
            marker = found.marker
            # Without a supervisor first: the end of its script is not to be written down.
            supervisor, found.supervisor = found.supervisor, None
            found.state, found.end_as = "COMPLETING", "NODE_FAIL"
            again = end(found, 0, self.settings)
        if supervisor is not None:
            ProcessId(*supervisor).kill()
        end_all(lambda: of_job(self.folder, marker))
        self._go_on(again)

    def hang(self, job: str) -> None:
        """Requeue a job as if its node were lost while its processes live on: soon there are two copies of it."""
        with changing(self.folder) as state:
            found = self._running(state, job)
            found.state = "NODE_FAIL"
            requeue(found, self.settings)
        self._go_on(True)

    def finish_twice(self, job: str) -> None:
        """Run a finished job again, as Slurm does when it had begun to requeue it."""
        if self._one(look(self.folder), job).state not in FINAL:
            raise ValueError(f"job {job} has not ended")
        requeue_job(self.folder, job)

    def controller_down(self) -> None:
        """Let every command but sacct fail after ``silence`` seconds; jobs go on, none starts."""
        with changing(self.folder) as state:
            state.silent = True

    def controller_up(self) -> None:
        """Let commands succeed again."""
        with changing(self.folder) as state:
            state.silent = False
        schedule(self.folder)

    def accounting_off(self) -> None:
        """Let sacct fail."""
        with changing(self.folder) as state:
            state.accounting = False

    def accounting_on(self) -> None:
        """Let sacct succeed again."""
        with changing(self.folder) as state:
            state.accounting = True

    def limit_submit(self, jobs: int | None) -> None:
        """Refuse submissions after which more jobs than that would wait and run."""
        with changing(self.folder) as state:
            state.max_submit = jobs

    def processes(self, job: str | None = None) -> Sequence[ProcessId]:
        """The processes of a job's present start; without a job, everything that was started and still runs."""
        if job is None:
            return of_folder(self.folder)
        return of_job(self.folder, self._one(look(self.folder), job).marker)

    def stop(self) -> None:
        """End everything that was started here."""
        with changing(self.folder) as state:
            state.silent = True
        end_all(lambda: of_folder(self.folder))

    def _give_notice(self, job: str, becoming: str) -> None:
        with changing(self.folder) as state:
            found = self._running(state, job)
            now = time.time()
            found.signal_at = now if found.request.signal else None
            found.end_at, found.end_as = now + self.settings.grace, becoming

    def _go_on(self, again: bool) -> None:
        schedule(self.folder)
        if again:
            wake_later(self.folder, self.settings)

    def _named(self, state: State, job: str) -> list[Job]:
        found = state.named(job)
        if not found:
            raise ValueError(f"no job {job}; there are {', '.join(one.label for one in state.jobs) or 'none'}")
        return found

    def _one(self, state: State, job: str) -> Job:
        found = self._named(state, job)
        if len(found) != 1:
            raise ValueError(f"job {job} is an array; name one of {', '.join(one.label for one in found)}")
        return found[0]

    def _running(self, state: State, job: str) -> Job:
        found = self._one(state, job)
        if found.state != "RUNNING":
            raise ValueError(f"job {job} is {found.state}, not running")
        return found
