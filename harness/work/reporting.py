"""Keeps a run's report in step with its results: written once for each state of them, by whoever gets there first."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import analysis
import harness
from harness.core.files import read_with_status, write_atomic
from harness.core.identity import canonical_hash, code_hash, naming
from harness.core.lease import hold
from harness.core.many_files import each
from harness.run.code import plugin_folders
from harness.run.directory import RunDirectory
from harness.run.index import ResultIndex
from harness.run.inventory import card_pictures, documents
from harness.run.trial import TrialFolder
from harness.studies.reading import Seen

NOTHING = Seen({}, {})
_SHOWING = ("metrics", "pages", "run")
"""Rooms of the harness that read a run, score it, and show that."""


def refresh_report(run: RunDirectory) -> Path:
    """Write the report unless it already shows the present results; returns the page's path.

    The figures and tables of the sweep's plugin folders are in it, and their code is executed.
    """
    from analysis.report import write_report

    while True:
        with hold(run.lock_folder) as lease:
            if report_is_current(run):
                break
            folders = [folder for folder in _plugins(run) if folder.is_dir()]
            shown = [results_state(run), *filter(None, [_plugin_code(folders)])]
            write_report(run, plugins=folders)
            if lease.held:
                write_atomic(run.report_state, "\n".join(shown).encode())
                break
            # It slept so long that another one took over; what that one wrote may be newer, and is now overwritten.
            run.report_state.unlink(missing_ok=True)
    return run.report_page


def report_is_current(run: RunDirectory) -> bool:
    """Whether the report is written to its end and shows the present results, by the present code of plugins.

    For whoever runs that code anyway: the folders that the run names are read.
    """
    if not shows_results(run):
        return False
    folders = _plugins(run)
    # Where the run was copied to, its plugins may not be, and a report without them would show less.
    return _plugin_code(folders) == _shown(run)[1] or not all(folder.is_dir() for folder in folders)


def shows_results(run: RunDirectory, seen: Seen = NOTHING) -> bool:
    """Whether the report is written to its end and shows the present results; nothing outside of the run is read.

    Args:
        run: the run directory, perhaps a stranger's.
        seen: what need not be looked at again.
    """
    try:
        shown, _ = _shown(run)
    except FileNotFoundError:
        return False
    return run.report_page.exists() and shown == results_state(run, seen)


def _shown(run: RunDirectory) -> tuple[str, str]:
    """The state of the results that the report shows, and of the plugins' code that it was made with."""
    shown, _, code = read_with_status(run.report_state)[1].decode(errors="replace").partition("\n")
    return shown, code


def results_state(run: RunDirectory, seen: Seen = NOTHING) -> str:
    """Changes with the content of all that a report of the run shows, and with the program that shows it.

    Args:
        run: the run directory.
        seen: what need not be looked at again.
    """
    trials = [*run.trials(listed=seen.listed), *run.trials_set_aside()]
    # Not by ``relative_to``, which would take longer than all the rest.
    start = len(str(run.path)) + 1
    paths = [str(trial.path) for trial in trials]
    unknown = [trial for trial, path in zip(trials, paths, strict=True) if path not in seen.digests]
    digests = {**seen.digests, **_digests(run, unknown)}
    read = [document.path for document in documents(run)] + card_pictures(run)
    return canonical_hash(
        {
            "results": [[path[start:] for path in paths], [digests.get(path) for path in paths]],
            "documents": dict(zip((str(path)[start:] for path in read), each(_digest, read), strict=True)),
            "program": _program(),
        }
    )


def _digests(run: RunDirectory, trials: Sequence[TrialFolder]) -> dict[str, str]:
    """The digest of each result that is there, by the folder of the trial."""
    if not trials:
        return {}
    index = ResultIndex(run)
    found = zip(trials, index.contents_seen(trials), strict=True)
    return {str(trial.path): index.digest(trial, content) for trial, content in found if content is not None}


def _plugins(run: RunDirectory) -> list[Path]:
    """The sweep's plugin folders, as this process finds them."""
    return plugin_folders(run.spec().get("plugins", ()))


def _plugin_code(folders: Sequence[Path]) -> str:
    """Changes with the code of the figures and tables of plugin folders, which is not executed; empty without any."""
    files = naming(folders, ("Figure", "Table"))
    return canonical_hash([[path.name, _code(path)] for path in files]) if files else ""


def _code(path: Path) -> str | None:
    try:
        return code_hash(path)
    except (OSError, SyntaxError):
        return _digest(path)


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_with_status(path)[1]).hexdigest()
    except FileNotFoundError:
        return None


@functools.cache
def _program() -> str:
    """What shows the results, by its content: the time stamps of a copy may be those of another version."""
    rooms = [Path(analysis.__file__).parent, *(Path(harness.__file__).parent / room for room in _SHOWING)]
    sources = [(path, room) for room in rooms for path in sorted(room.rglob("*.*")) if "__pycache__" not in path.parts]
    return canonical_hash(
        [
            [room.name, path.relative_to(room).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()]
            for path, room in sources
        ]
    )
