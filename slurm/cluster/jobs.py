"""What the controller says of jobs, and waiting for it to say something else."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from typing import Protocol

from harness.core.errors import RequestError, one_line, suggestion

FINAL = frozenset(["BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"])
"""States that a job does not leave. NODE_FAIL and PREEMPTED are not among them: a requeue follows."""

PASSING = frozenset(["COMPLETING", "CONFIGURING", "NODE_FAIL", "PENDING", "PREEMPTED", "RUNNING", "SUSPENDED"])
"""States that something follows."""

POLL_SECONDS = 0.2


class Run(Protocol):
    """Runs a command inside the cluster."""

    def __call__(self, command: Sequence[str], /) -> subprocess.CompletedProcess[str]:
        """The finished command."""
        ...


def states(run: Run, job: str) -> dict[str, str]:
    """Job or array task to state.

    Raises:
        RequestError: no such job, or the controller does not answer.
    """
    done = run(["squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%i %T"])
    if done.returncode != 0:
        raise RequestError(f"job {job}: {one_line(done.stderr)}")
    return dict(line.split() for line in done.stdout.splitlines())


def wait_for(run: Run, job: str, wanted: Sequence[str], timeout: float) -> dict[str, str]:
    """Wait until a job, or every task of an array, is in one of some states.

    Raises:
        RequestError: it took longer; or it has ended in another state, for good; or a state's name is wrong.
    """
    for state in wanted:
        if state not in FINAL | PASSING:
            raise RequestError(f"job state {state!r} is unknown{suggestion(state, FINAL | PASSING)}")
    end, last = time.monotonic() + timeout, "no answer"
    while True:
        try:
            now = states(run, job)
        except RequestError as error:
            # The controller may be away for a moment, as it is when a test kills it.
            now, last = {}, str(error)
        if now:
            last = ", ".join(f"{task} {state}" for task, state in now.items())
            if set(now.values()) <= set(wanted):
                return now
            if stuck := set(now.values()) & FINAL - set(wanted):
                raise RequestError(f"job {job}: {', '.join(sorted(stuck))}, never {' or '.join(wanted)} ({last})")
        if time.monotonic() > end:
            raise RequestError(f"job {job}: not {' or '.join(wanted)} after {timeout:.0f} s ({last})")
        time.sleep(POLL_SECONDS)
