"""What every export keeps to, tried on a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from harness.core.output import printable
from harness.export.contract import Export, ExportedRun
from harness.run.directory import RunDirectory

AWKWARD = "out put?%20{x}#'ü"
"""Of the destination: signs that mean something in an address, a template or a shell."""


def export_problems(export: type[Export], run: RunDirectory, folder: Path, suffix: str = "") -> list[str]:
    """One line for each promise of the contract that an export breaks.

    Args:
        export: the class.
        run: a run with at least one trial; it may be in any place.
        folder: an empty folder to write in.
        suffix: of the destination's name, where the export looks at that.
    """
    return list(_problems(export, run, folder, suffix))


def _problems(export: type[Export], run: RunDirectory, folder: Path, suffix: str) -> Iterator[str]:
    fault = export.fault()
    if fault is not None:
        yield f"it {fault}"
    before = _content(run.path)
    places = [folder / f"{number}" / f"{AWKWARD}{suffix}" for number in (1, 2)]
    for place in places:
        place.parent.mkdir()
        said = export().write(ExportedRun(run), place)
        if not said.strip() or "\n" in said or printable(said) != said:
            yield f"what it says is not one printable line: {said!r}"
        if not place.exists():
            yield "nothing is at the destination"
        strays = [one.name for one in place.parent.iterdir() if not one.name.startswith(place.name)]
        if strays:
            yield f"it wrote beside the destination: {', '.join(sorted(strays))}"
    if export.repeatable and _content(places[0].parent) != _content(places[1].parent):
        yield "two exports of the same run differ"
    if export.updates:
        export().write(ExportedRun(run), places[0])
    if _content(run.path) != before:
        yield "it changed the run"


def _content(place: Path) -> dict[str, str]:
    """Path → digest of every file below a place."""
    files = [path for path in sorted(place.rglob("*")) if path.is_file()]
    return {path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
