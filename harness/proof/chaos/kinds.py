"""The disturbances: what each does, how it ends, and whether it hit a trial in training."""

from __future__ import annotations

import contextlib
import errno
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.core.errors import EXIT_BAD_REQUEST
from harness.core.lease import expire
from harness.proof.chaos.fault_layer import CALLS, Armed, Fault, FaultLayer
from harness.proof.chaos.scene import RunWatch, Sweep, WatchedAttempt
from harness.run.directory import RunDirectory
from harness.run.inventory import plan_documents

FILE_CALLS = tuple(call for call in CALLS if call not in ("fork", "thread"))
ERRORS = (
    "EIO", "ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "EAGAIN", "EINTR", "ESTALE", "EACCES", "EPERM", "EROFS", "ENOMEM",
    "EBUSY", "ETIMEDOUT", "ENOLCK", "ENOTCONN", "EREMOTEIO", "ENODEV", "ELOOP", "EHOSTDOWN", "ENETUNREACH", "ENXIO",
    "ECONNREFUSED", "EPROTO", "EFBIG",
)  # fmt: skip
"""What file systems, local ones and those over a network, say in passing."""
LOST_ANSWERS = ("rename", "link", "unlink", "mkdir")
"""Calls that a file server may have carried out although its answer was lost."""
LONGEST = {"fault": 3.0, "suspend": 10.0, "fork": 12.0, "stale-rerun": 100.0}
"""Seconds after which a disturbance that did not come about is given up; a lease that nobody renews lives for 120."""


@dataclass
class Scene:
    """All that a disturbance acts on."""

    run: RunDirectory
    sweep: Sweep
    watch: RunWatch
    rng: random.Random
    layer: FaultLayer | None
    cache: Path
    stale: Sequence[str] = ()
    """The command that would set this run's studies aside."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DisturbanceOutcome:
    """How a disturbance ended."""

    hit: bool
    """Whether it hit a trial in training."""
    happened: bool = True
    """Whether it came about at all."""


class Disturbance(Protocol):
    """One disturbance, from when it begins."""

    def poll(self) -> DisturbanceOutcome | None:
        """Go on with it; how it ended, or None while it lasts."""

    def stop(self) -> None:
        """End it now; its outcome does not count."""


Begin = Callable[[Scene, WatchedAttempt], Disturbance | None]
"""Begins a disturbance of an attempt that is in training; None where it cannot be had now."""


@dataclass
class _Done:
    """A disturbance that takes no time."""

    outcome: DisturbanceOutcome

    def poll(self) -> DisturbanceOutcome | None:
        return self.outcome

    def stop(self) -> None:
        """Nothing lasts."""


def kill(scene: Scene, attempt: WatchedAttempt) -> Disturbance:
    """SIGKILL a worker."""
    return _Done(DisturbanceOutcome(scene.sweep.send(attempt.pid, signal.SIGKILL)))


def terminate(scene: Scene, attempt: WatchedAttempt) -> Disturbance:
    """SIGTERM a worker, as a scheduler does before it kills."""
    return _Done(DisturbanceOutcome(scene.sweep.send(attempt.pid, signal.SIGTERM)))


def kill_all(scene: Scene, attempt: WatchedAttempt) -> Disturbance:
    """SIGKILL the sweep with all its workers."""
    scene.sweep.kill()
    return _Done(DisturbanceOutcome(hit=True))


@dataclass
class _Suspension:
    """Processes that sleep until their leases have expired and others have taken their trials, or a while longer."""

    scene: Scene
    attempts: Sequence[WatchedAttempt]
    pids: Sequence[int]
    await_successor: bool
    began: float = field(default_factory=time.monotonic)
    wakes: float | None = None

    def poll(self) -> DisturbanceOutcome | None:
        now = time.monotonic()
        if self.wakes is None and (not self.await_successor or any(map(self.scene.watch.succeeded, self.attempts))):
            # The successor gets some way, or none.
            self.wakes = now + self.scene.rng.expovariate(2.0)
        over = now - self.began > LONGEST["suspend"]
        if not over and (self.wakes is None or now < self.wakes):
            return None
        self.stop()
        return DisturbanceOutcome(hit=self.wakes is not None)

    def stop(self) -> None:
        for pid in self.pids:
            self.scene.sweep.send(pid, signal.SIGCONT)


def suspend(scene: Scene, attempt: WatchedAttempt) -> Disturbance | None:
    """SIGSTOP a worker until its lease has expired and another one has its trial, then SIGCONT."""
    return _suspended(scene, [attempt], [attempt.pid], await_successor=True)


def suspend_all(scene: Scene, attempt: WatchedAttempt) -> Disturbance | None:
    """SIGSTOP the sweep and all its workers beyond every lease, then SIGCONT: they wake in any order."""
    workers = [worker.pid for worker in scene.sweep.workers()]
    assert scene.sweep.process is not None
    attempts = list(scene.watch.training(workers).values())
    return _suspended(scene, attempts, [*workers, scene.sweep.process.pid], await_successor=False)


def _suspended(
    scene: Scene, attempts: Sequence[WatchedAttempt], pids: Sequence[int], await_successor: bool
) -> Disturbance | None:
    for pid in pids:
        scene.sweep.send(pid, signal.SIGSTOP)
    for attempt in attempts:
        # The file looks as if nobody had renewed it for two minutes, for which nobody has to wait then.
        with contextlib.suppress(OSError, KeyError):
            expire(attempt.lease_path)
    return _Suspension(scene, attempts, pids, await_successor)


@dataclass
class _Step:
    """A clock that is wrong for a while."""

    layer: FaultLayer
    number: int
    until: float

    def poll(self) -> DisturbanceOutcome | None:
        if time.monotonic() < self.until:
            return None
        self.stop()
        return DisturbanceOutcome(hit=True)

    def stop(self) -> None:
        self.layer.clock_back(self.number)


def clock(scene: Scene, attempt: WatchedAttempt) -> Disturbance | None:
    """Step the clock forward or back, by a second or by days, for one process or for all; later step it back again."""
    assert scene.layer is not None
    seconds = scene.rng.choice((-1, 1)) * scene.rng.choice((1.5, 6.0, 90.0, 150.0, 4000.0, 200_000.0))
    number = scene.layer.step_clock(scene.rng.choice((0, attempt.pid)), seconds)
    return None if number is None else _Step(scene.layer, number, time.monotonic() + scene.rng.expovariate(0.7))


@dataclass
class _Faulty:
    """Calls that are to fail."""

    scene: Scene
    attempt: WatchedAttempt
    armed: Armed
    until: float
    lasts: bool = False
    """Whether it goes on failing until then."""

    def poll(self) -> DisturbanceOutcome | None:
        fired = self.armed.fired()
        if (fired is None or self.lasts) and time.monotonic() < self.until:
            return None
        self.armed.disarm()
        if fired is None:
            return DisturbanceOutcome(hit=False, happened=False)
        return DisturbanceOutcome(hit=self.scene.watch.was_training(self.attempt, fired.at))

    def stop(self) -> None:
        self.armed.disarm()


def file_fault(call: str) -> Begin:
    """Let one file operation of a kind fail in a worker, somewhere below its trial, its run or the cache."""

    def begin(scene: Scene, attempt: WatchedAttempt) -> Disturbance | None:
        rng = scene.rng
        below = rng.choices((attempt.trial.path, scene.run.path, scene.cache), (5, 3, 1))[0]
        short = call == "write" and rng.random() < 0.15
        fault = Fault(
            [call],
            0 if short else getattr(errno, rng.choice(ERRORS)),
            below,
            attempt.pid,
            skip=rng.choice((0, 0, 1, 2, 3, 5, 8)),
            afterwards=call in LOST_ANSWERS and rng.random() < 0.25,
        )
        return _armed(scene, attempt, fault, LONGEST["fault"])

    return begin


def outage(scene: Scene, attempt: WatchedAttempt) -> Disturbance | None:
    """Let every file operation of a worker on the run directory fail for a moment: its file server is away."""
    error = getattr(errno, scene.rng.choice(("EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN")))
    fault = Fault(FILE_CALLS, error, scene.run.path, attempt.pid, count=1 << 30)
    return _armed(scene, attempt, fault, 0.05 + scene.rng.expovariate(4.0), lasts=True)


def thread(scene: Scene, attempt: WatchedAttempt) -> Disturbance | None:
    """Let a worker fail to start a thread, as beyond a limit of processes."""
    return _armed(scene, attempt, Fault(["thread"], errno.EAGAIN, pid=attempt.pid), LONGEST["fault"])


def fork(scene: Scene, attempt: WatchedAttempt) -> Disturbance | None:
    """SIGKILL a worker, and let the first forks fail by which it is to be replaced."""
    error = scene.rng.choice((errno.EAGAIN, errno.ENOMEM))
    count, skip = scene.rng.choice((1, 1, 2, 3)), scene.rng.choice((0, 1))
    begun = _armed(scene, attempt, Fault(["fork"], error, count=count, skip=skip), LONGEST["fork"], lasts=count > 1)
    if begun is not None:
        scene.sweep.send(attempt.pid, signal.SIGKILL)
    return begun


def _armed(
    scene: Scene, attempt: WatchedAttempt, fault: Fault, seconds: float, lasts: bool = False
) -> Disturbance | None:
    assert scene.layer is not None
    armed = scene.layer.arm(fault)
    return None if armed is None else _Faulty(scene, attempt, armed, time.monotonic() + seconds, lasts)


@dataclass
class _StaleRerun:
    """A command that must be refused, because a worker has a trial of the study that it would set aside."""

    scene: Scene
    attempt: WatchedAttempt
    process: subprocess.Popen[str]
    before: Mapping[str, bytes]
    began: float = field(default_factory=time.monotonic)

    def poll(self) -> DisturbanceOutcome | None:
        if self.process.poll() is None and time.monotonic() - self.began < LONGEST["stale-rerun"]:
            return None
        late = self.process.poll() is None
        self.stop()
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stderr.close()
        if self.process.returncode != EXIT_BAD_REQUEST or "Traceback" in errors:
            end = "did not end" if late else f"ended with code {self.process.returncode}"
            last = errors.strip().splitlines()[-1:] or ["nothing"]
            self.scene.problems.append(f"--stale rerun under living workers {end} and said: {last[0]}")
        if standing(self.scene.run) != self.before:
            self.scene.problems.append("--stale rerun under living workers changed the run directory")
        return DisturbanceOutcome(hit=True)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.scene.sweep.send(self.attempt.pid, signal.SIGCONT)


def stale_rerun(scene: Scene, attempt: WatchedAttempt) -> Disturbance | None:
    """Run the command that sets the run's studies aside while a worker, which sleeps meanwhile, has a trial of one."""
    # What it had when it was last looked at it may have finished before it slept: then nothing has to be refused.
    if not scene.sweep.suspend(attempt.pid) or not scene.watch.holds(attempt):
        scene.sweep.send(attempt.pid, signal.SIGCONT)
        return None
    before = standing(scene.run)
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(scene.stale, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE, text=True)
    return _StaleRerun(scene, attempt, process, before)


def standing(run: RunDirectory) -> dict[str, bytes]:
    """What a refused request must leave alone: what was planned and declared, and what was set aside."""
    return {str(path): path.read_bytes() for path in plan_documents(run)}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of disturbance."""

    begin: Begin
    weight: float
    """How often it is chosen, relative to others: what costs seconds is rarer."""
    needs_layer: bool = True
    alone: bool = False
    """Whether nothing else may be going on when it begins."""


KINDS: dict[str, Kind] = {
    "kill": Kind(kill, 3.0, needs_layer=False),
    "terminate": Kind(terminate, 2.0, needs_layer=False),
    "kill-all": Kind(kill_all, 0.3, needs_layer=False, alone=True),
    "suspend": Kind(suspend, 3.0, needs_layer=False),
    "suspend-all": Kind(suspend_all, 1.0, needs_layer=False, alone=True),
    "clock": Kind(clock, 3.0),
    "fork": Kind(fork, 1.0),
    "thread": Kind(thread, 2.0),
    "stale-rerun": Kind(stale_rerun, 0.7, needs_layer=False),
    "outage": Kind(outage, 2.0),
    **{call: Kind(file_fault(call), 2.0) for call in FILE_CALLS},
}
