"""What workers tell one another: a file of the run to which each appends, so that nobody has to ask after every trial.

It saves time and says nothing by itself. A line counts if its checksum is right and it is of the reader's own plan; one
that was lost, as on NFS where two clients append at once, or that nobody wrote, is made up for by a look at the trial.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.core.infrastructure import persistently
from harness.run.directory import RunDirectory

TAIL_BYTES = 1 << 20
"""So much of what was told before its time a new reader reads: who has which trial was told within minutes."""

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

Kind = Literal["claimed", "held", "doubted", "ended"]
_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}


@dataclass(frozen=True, slots=True)
class Item:
    """What is told of one trial."""

    kind: Kind
    """``claimed``: a worker has it now; ``held``: its owner was seen alive; ``doubted``: that owner has not renewed its
    lease for long, but not for long enough; ``ended``: it was finished or given back."""
    trial: str
    """Path of its folder inside the run."""
    again: float = 0.0
    """When its lease is to be looked at again, by the file server's clock; 0 for ``ended``."""
    owner: str = ""
    """Which host has it, as ``owner_mark`` gives it."""
    job: str = ""
    """The Slurm job that has it; empty outside of one."""
    content: bytes = b""
    """``claimed``: its hyperparameters, ``ended``: its result, as JSON on one line; empty where there is none."""


def owner_mark(host: str) -> str:
    """A short mark of a host, as ``harness.core.owner.host_identity`` names it."""
    return hashlib.sha256(host.encode()).hexdigest()[:12]


class News:
    """What was told since this was made, and a little before.

    Args:
        run: the run directory.
        plan: token of the plan that the reader follows; what was told under another one is passed over.
    """

    def __init__(self, run: RunDirectory, plan: str) -> None:
        self.run, self._plan, self._path = run, plan.encode(), run.news_path
        try:
            self._begun = self._path.stat().st_size
        except FileNotFoundError:
            self._begun = 0
        self._read = max(0, self._begun - TAIL_BYTES)

    def tell(self, items: Iterable[Item]) -> None:
        """Append what is new; that it cannot be written is no error, because others then look for themselves."""
        lines = [_line(self._plan, item) for item in items if item.trial.isprintable()]
        if not lines:
            return
        # A line that another one has cut short ends here.
        content = b"\n" + b"".join(lines)
        # A full disk, or a run that may only be read.
        with suppress(OSError):
            descriptor = os.open(self._path, _APPEND, 0o666)
            try:
                os.write(descriptor, content)
            finally:
                os.close(descriptor)

    def new(self) -> Iterator[Item]:
        """What was told since the last time, oldest first.

        What was told before this was made has no ``content``: whoever reads the news reads the files themselves first,
        and what was set aside since is no result any more.

        Raises:
            OSError: the file cannot be read.
        """
        content = persistently(self._rest)
        end = content.rfind(b"\n") + 1
        place, self._read = self._read, self._read + end
        for line in content[:end].splitlines(keepends=True):
            place += len(line)
            item = _item(self._plan, line.rstrip(b"\n"))
            if item is not None:
                yield item if place > self._begun else replace(item, content=b"")

    def _rest(self) -> bytes:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            left = os.fstat(descriptor).st_size - self._read
            return os.pread(descriptor, left, self._read) if left > 0 else b""
        finally:
            os.close(descriptor)


def _line(plan: bytes, item: Item) -> bytes:
    fields = (item.kind, item.trial, f"{item.again:.3f}", item.owner, item.job)
    body = b"\t".join((plan, *(field.encode() for field in fields), item.content))
    return _sum(body) + b"\t" + body + b"\n"


def _item(plan: bytes, line: bytes) -> Item | None:
    """What a line tells; None where it is torn or of another plan."""
    checksum, _, body = line.partition(b"\t")
    if not body.startswith(plan + b"\t") or checksum != _sum(body):
        return None
    _, kind, trial, again, owner, job, content = body.split(b"\t", 6)
    # Whoever wrote it may be of a later version.
    known = _KINDS.get(kind.decode())
    return None if known is None else Item(known, trial.decode(), float(again), owner.decode(), job.decode(), content)


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()
