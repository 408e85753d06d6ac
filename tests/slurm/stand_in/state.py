"""All that the stand-in knows, in one file that changes under a lock."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FIRST_JOB = 1001
FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL"})


@dataclass
class Request:
    """What was asked for with sbatch; the same for all tasks of an array."""

    name: str
    comment: str | None
    partition: str
    account: str
    qos: str
    folder: str
    output: str
    error: str
    append: bool
    minutes: int
    signal: int | None
    signal_seconds: int
    signal_shell: bool
    """Whether the signal goes to the batch shell alone; else to all steps, and not to the shell."""
    requeue: bool
    after: list[int]
    gpus: int
    cpus: int
    tasks: int | None
    excluded: list[str]
    throttle: int | None
    indices: list[int]
    command: str | None
    """The script's path as it was given."""
    arguments: list[str]
    spool: str
    """The folder with the script's copy and the environment."""


@dataclass
class End:
    """How one start of a job ended."""

    state: str
    code: int
    signal: int
    node: str
    started: float
    ended: float
    steps: list[dict[str, Any]]


@dataclass
class Job:
    """A job, or one task of an array. Times are in seconds since 1970."""

    id: int
    """An array's own number until the task starts; then, but for the last one, a number of its own."""
    array: int | None
    task: int | None
    request: Request
    submitted: float
    state: str = "PENDING"
    reason: str = "None"
    begin: float = 0.0
    started: float | None = None
    ended: float | None = None
    starts: int = 0
    node: str = ""
    gpus: list[int] = field(default_factory=list)
    code: int = 0
    signal: int = 0
    supervisor: list[int] | None = None
    """Process id and start time of the one that watches it."""
    shell: int | None = None
    """Process id of its script."""
    signal_at: float | None = None
    end_at: float | None = None
    end_as: str = ""
    """What it becomes when its time is up, or is becoming while it is COMPLETING."""
    terminated: bool = False
    kill_at: float | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    history: list[End] = field(default_factory=list)

    @property
    def label(self) -> str:
        """``12``, or ``12_3`` for a task of an array."""
        return str(self.id) if self.array is None else f"{self.array}_{self.task}"

    @property
    def unsplit(self) -> bool:
        """Whether Slurm still lists it together with other waiting tasks of its array."""
        return self.array is not None and not self.starts and self.ended is None

    @property
    def marker(self) -> str:
        """What tells the processes of this start from those of others."""
        return f"{self.label}:{self.starts}"

    @property
    def living(self) -> bool:
        """Whether it waits or runs."""
        return self.state not in FINAL

    def past(self) -> End:
        """The present start as an end."""
        now = self.ended or time.time()
        return End(self.state, self.code, self.signal, self.node, self.started or now, now, self.steps)


@dataclass
class State:
    """The controller's knowledge."""

    folder: Path
    next_id: int = FIRST_JOB
    silent: bool = False
    accounting: bool = True
    max_submit: int | None = None
    jobs: list[Job] = field(default_factory=list)

    def named(self, name: str) -> list[Job]:
        """The jobs that a number, or ``12_3``, means: all tasks for an array's number."""
        found = [job for job in self.jobs if job.label == name]
        number = int(name) if name.isdecimal() else None
        return found or [job for job in self.jobs if number is not None and number in (job.array, job.id)]

    def new_id(self) -> int:
        """The next number."""
        self.next_id += 1
        return self.next_id - 1


def look(folder: Path) -> State:
    """The state now; the file is replaced as a whole, so no lock is needed."""
    values = json.loads((folder / "state.json").read_text())
    jobs = [_job(value) for value in values.pop("jobs")]
    return State(folder, jobs=jobs, **values)


def begin(folder: Path, max_submit: int | None) -> None:
    """Write the state of a cluster without jobs."""
    _save(State(folder, max_submit=max_submit))


@contextmanager
def changing(folder: Path) -> Iterator[State]:
    """The state, for changes; written when the block ends without an exception."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = look(folder)
        yield state
        _save(state)


def _save(state: State) -> None:
    values = asdict(state)
    values.pop("folder")
    # No fsync, unlike harness.core.files: it need not survive a power failure, and each command would wait for it.
    new = state.folder / "state.json.new"
    new.write_text(json.dumps(values))
    new.replace(state.folder / "state.json")


def _job(value: dict[str, Any]) -> Job:
    request = Request(**value.pop("request"))
    history = [End(**end) for end in value.pop("history")]
    return Job(request=request, history=history, **value)
