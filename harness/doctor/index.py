"""The index of results: not whole, or at odds with the results themselves."""

from __future__ import annotations

from collections.abc import Iterator

from harness.doctor.finding import Finding
from harness.doctor.json_files import WORDS
from harness.run.directory import RunDirectory
from harness.run.index import disagreeing, fault_of

REMEDY = "--fix sets it aside; it only saves time, and is made again"


def examine(run: RunDirectory) -> Iterator[Finding]:
    """What is wrong with the index of a run; no index is well."""
    path = run.index_path
    try:
        fault = fault_of(path)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding("unreadable", path, f"cannot be read: {error.strerror}", REMEDY, aside=(path,))
        return
    if fault is not None:
        yield Finding(fault, path, WORDS[fault], REMEDY, aside=(path,))
        return
    others = disagreeing(run)
    if others:
        what = f"says otherwise than {len(others)} results of the same stamps, such as {others[0]}"
        yield Finding("wrong", path, what, REMEDY, aside=(path,))
