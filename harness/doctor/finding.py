"""One thing that is wrong with a run directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.run.trial import TrialFolder

By = Literal["fix", "sweep", "user", "nobody"]
"""Who fixes it: ``--fix``; the sweep command by itself; the user; nobody, because nothing depends on it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a run directory."""

    kind: str
    """A word or two: torn, empty, missing, other version, stale, dead lease, clock, …"""
    place: Path
    what: str
    """What is wrong there, and what it means."""
    remedy: str
    """What ``--fix`` does about it, or what else has to be done."""
    by: By = "fix"
    aside: tuple[Path, ...] = ()
    """Files to set aside, the result of a trial among them first."""
    copied: bool = False
    """Whether these are copied there and stay where they are: a lease that is away for a moment could be taken."""
    trial: TrialFolder | None = None
    """The trial that must be nobody's while it is fixed."""
    act: Callable[[], None] | None = None
    """What else fixes it."""
    damage: bool = False
    """Whether a file does not hold what its name promises, so that a sweep cannot go on."""

    def line(self, root: Path) -> str:
        """The finding in one line; paths are relative to ``root``."""
        return f"{self.kind}: {relative(self.place, root)}: {self.what}; {self.remedy}"

    def to_json(self, root: Path) -> dict[str, str]:
        """The finding as plain data."""
        place = relative(self.place, root)
        return {"kind": self.kind, "place": place, "what": self.what, "remedy": self.remedy, "by": self.by}


def relative(path: Path, root: Path) -> str:
    """A path inside the run directory as seen from it."""
    return str(path.relative_to(root)) if path != root and path.is_relative_to(root) else str(path)
