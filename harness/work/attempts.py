"""What a trial's earlier attempts say about the next one: whether to wait, and when to give up.

An attempt that was told to stop released its lease. One that died did not; where its launcher lived on, it noted the
cause. A worker that vanished together with its Slurm job (node lost, preempted without notice, cancelled) is a failure
of the infrastructure and hardly counts against the trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.clock import server_now
from harness.core.lease import LeaseRecord, LeaseView
from harness.run.trial import TrialFolder
from harness.work.deaths import OUT_OF_MEMORY

LOST = "lost with its job"
KILLED = "killed"

LOST_PER_DEATH = 4
"""So many losses weigh as much as one death: now and then it is the trial that takes its node down."""
LONGEST_WAIT = 300.0


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Why a trial is given up."""

    cause: str
    message: str


def deaths_in_a_row(attempts: Sequence[LeaseRecord], progress: int) -> list[str]:
    """Causes of the last attempts' deaths, newest first, back to one that ended in order or got further.

    Args:
        attempts: oldest first.
        progress: where the trial stands now.
    """
    deaths: list[str] = []
    for attempt in reversed(attempts):
        if attempt.get("released") or attempt.get("progress") != progress:
            break
        deaths.append(attempt.get("death") or (LOST if "slurm_job" in attempt else KILLED))
    return deaths


def give_up(deaths: Sequence[str], retries: int) -> GivenUp | None:
    """The verdict on a trial whose last attempts all died at the same place; None while it may be tried again."""
    lost = sum(cause == LOST for cause in deaths)
    if len(deaths) - lost + lost // LOST_PER_DEATH <= retries:
        return None
    by_memory = sum(cause == OUT_OF_MEMORY for cause in deaths)
    if 2 * by_memory >= len(deaths):
        remedy = "give its job more memory, or each device fewer trials"
        return GivenUp("oom", f"the kernel ended {by_memory} of {len(deaths)} workers at the same place; {remedy}")
    kinds = ", ".join(sorted(set(deaths)))
    return GivenUp(
        "worker_died", f"{len(deaths)} workers died at the same place (killed, or native code crashed): {kinds}"
    )


def must_wait(folder: TrialFolder, progress: int, current: LeaseView | None) -> bool:
    """Whether another attempt has to wait.

    It does while the last one lives, and after a death for a while: longer after each, longest where memory ran out.

    Args:
        folder: of the trial.
        progress: where it stands now.
        current: its lease, as it is now.
    """
    if current is None or current.content.get("released"):
        return False
    if not current.dead:
        return True
    attempts = folder.attempts()
    deaths = [cause for cause in deaths_in_a_row(attempts, progress) if cause != LOST]
    # A first death may be anything; a neighbour that used up the memory needs time to go away.
    base = 15.0 if OUT_OF_MEMORY in deaths[:1] else 1.0
    if len(deaths) < (1 if base > 1 else 2):
        return False
    wait = min(LONGEST_WAIT, base * 2.0 ** (len(deaths) - 1))
    return server_now(folder.path) - float(attempts[-1]["last_seen"]) < wait


def progress_token(folder: TrialFolder) -> int:
    """Changes whenever a trial gets further: the time stamp of its checkpoint."""
    path = folder.checkpoint_path
    return path.stat().st_mtime_ns if path.exists() else 0
