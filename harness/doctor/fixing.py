"""Carrying out what findings advise: files are set aside, never deleted, and no living worker is disturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby

from harness.core import lease as leases
from harness.doctor.finding import Finding, relative
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder


class _InUse(Exception):
    """A living worker owns the trial."""


def fix(run: RunDirectory, findings: Iterable[Finding], say: Callable[[str], object]) -> list[Finding]:
    """Fix what can be fixed; returns the findings that are left for the user.

    Args:
        run: the run directory; its lock is held by the caller.
        findings: what was found, those of a trial one after the other.
        say: takes a line about each thing that was done.
    """
    left = []
    for trial, group in groupby(findings, key=lambda finding: finding.trial):
        found = list(group)
        mendable = [finding for finding in found if finding.by == "fix"]
        left += [finding for finding in found if finding.by == "user"]
        if not mendable:
            continue
        try:
            with _nobodys(trial):
                _carry_out(run, mendable, say)
        except _InUse:
            say(f"left alone: {relative(mendable[0].place, run.path)}: a living worker has the trial")
            left += mendable
    return left


@contextmanager
def _nobodys(trial: TrialFolder | None) -> Iterator[None]:
    """Own a trial while it is fixed; its next attempt comes after this one."""
    if trial is None:
        with nullcontext():
            yield
        return
    lease = leases.claim(trial.path)
    if lease is None:
        raise _InUse
    try:
        yield
    finally:
        lease.release("fixed")


def _carry_out(run: RunDirectory, findings: Sequence[Finding], say: Callable[[str], object]) -> None:
    # The result goes first: what is left of a trial without one is taken up again, whatever happens to this process.
    paths = {path: finding.copied for finding in findings for path in finding.aside}
    for path, copied in paths.items():
        if path.exists():
            say(f"set aside: {run.set_aside(path, copied)}")
    for finding in findings:
        if finding.act is not None:
            finding.act()
            say(f"fixed: {finding.kind}: {relative(finding.place, run.path)}")
