"""Leases: of owners that are gone, unreadable or lost ones, and those that a wrong clock keeps alive."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness.core.clock import server_now
from harness.core.lease import (
    EXPIRY_SECONDS,
    RECORD,
    RENEW_SECONDS,
    LeaseView,
    expire,
    lease_files,
    lease_path,
    record_loss,
    view,
)
from harness.doctor.finding import Finding
from harness.doctor.json_files import WORDS, read
from harness.launch.display import duration
from harness.run.trial import TrialFolder

CLOCK_SECONDS = 60.0
"""Clocks that are less apart than this do no harm."""
WATCH_SECONDS = 2.5 * RENEW_SECONDS
"""Within this time an owner that lives has renewed its lease."""

_WRITTEN = ("host", "pid", "claimed")


def examine(folder: Path, trial: TrialFolder | None = None) -> Iterator[Finding]:
    """Everything that is wrong with the leases of a folder.

    Args:
        folder: of a trial, or one that serialises something.
        trial: the trial whose folder it is, if any.
    """
    files = lease_files(folder) if folder.is_dir() else {}
    latest = max(files, default=0)
    current = view(folder) if latest else None
    # Whether its owner lives cannot be told by a lease that cannot be read: it counts until it expires.
    for number, path in files.items():
        found = read(path, RECORD)
        fault = found.fault
        if fault is None and not ("released" in found.value or all(key in found.value for key in _WRITTEN)):
            fault = "other version"
        if fault is not None:
            alive = number == latest and current is not None and current.age < EXPIRY_SECONDS
            yield _unreadable(path, fault, alive)
    for number in sorted(set(range(1, latest)) - files.keys()):
        yield _lost(lease_path(folder, number))
    if not files and trial is not None and (trial.finished or trial.curve_path.exists()):
        yield _lost(lease_path(folder, 1))
    if current is not None:
        yield from _state(lease_path(folder, latest), current, trial)


def _state(path: Path, current: LeaseView, trial: TrialFolder | None) -> Iterator[Finding]:
    if current.content.get("released"):
        return
    ahead = -current.age
    if not current.dead and ahead > CLOCK_SECONDS:
        owner = _owner(current)
        what = f"{owner} was last seen {duration(ahead)} in the future: a clock was wrong; it stays taken for so long"
        remedy = f"--fix watches it for {WATCH_SECONDS:.0f} s and frees what nobody renews"
        yield Finding("clock", path, what, remedy, act=lambda: _expire_unless_renewed(path))
    elif current.dead and trial is not None and not trial.finished and "host" in current.content:
        seen = f"{_owner(current)}, last seen {duration(max(0.0, current.age))} ago, is gone"
        cause = f" ({current.content['death']})" if current.content.get("death") else ""
        at = "resumes from its checkpoint" if trial.checkpoint_path.exists() else "begins the trial at its start"
        yield Finding("dead lease", path, seen + cause, f"the sweep takes it over by itself and {at}", by="sweep")


def _owner(current: LeaseView) -> str:
    job = current.content.get("slurm_job")
    host, pid = current.content.get("hostname", "?"), current.content.get("pid", "?")
    return f"process {pid} on {host}" + (f" (job {job})" if job else "")


def _unreadable(path: Path, fault: str, alive: bool) -> Finding:
    if alive:
        what = f"{WORDS[fault]}; its owner may live"
        return Finding(fault, path, what, f"look again in {EXPIRY_SECONDS:.0f} s", by="user")
    remedy = "--fix keeps it aside and notes that the record is lost"
    return Finding(fault, path, WORDS[fault], remedy, aside=(path,), copied=True, act=lambda: record_loss(path))


def _lost(path: Path) -> Finding:
    what = "is missing; the record of that attempt is lost"
    return Finding("missing", path, what, "--fix notes the loss in its place", act=lambda: record_loss(path))


def _expire_unless_renewed(path: Path) -> None:
    before, deadline = path.stat().st_mtime_ns, time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        if path.stat().st_mtime_ns != before:
            return
        time.sleep(0.1)
    expire(path)


def clock_difference(folder: Path) -> Iterator[Finding]:
    """A clock of this machine that is not the file server's."""
    ahead = time.time() - server_now(folder)
    if abs(ahead) > CLOCK_SECONDS:
        side = "ahead of" if ahead > 0 else "behind"
        what = f"this machine's clock is {duration(abs(ahead))} {side} the file server's"
        meaning = "leases go by the server's and are right, times in logs and results are not"
        yield Finding("clock", folder, f"{what}: {meaning}", "set this machine's clock", by="user")
