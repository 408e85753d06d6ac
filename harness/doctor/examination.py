"""All checks of a run directory, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.core.clock import server_now
from harness.core.errors import RequestError
from harness.core.many_files import each
from harness.doctor import documents, folders, index, jobs, leases, studies, trial_files
from harness.doctor.finding import Finding
from harness.run import inventory as run_files
from harness.run.directory import RunDirectory
from harness.run.index import Examined, ResultIndex
from harness.run.links import refuse_links
from harness.run.trial import TrialFolder


def damage(run: RunDirectory) -> Iterator[Finding]:
    """Files that do not hold what their names promise: what a sweep cannot go on with. Everything is read."""
    # A study without its description is not looked into, so that a killed repair is found out by the next.
    for found in each(lambda trial: list(trial_files.examine(trial, thorough=True)), list(run.trials())):
        yield from found
    yield from _damaged_documents(run)


def new_damage(run: RunDirectory, results: ResultIndex) -> Iterator[Finding]:
    """The same without whole checkpoints and predictions, and without trials that were found whole and are unchanged.

    Args:
        run: the run directory.
        results: the index of its results; it takes note of what is found whole.
    """
    now, trials = server_now(run.path), list(run.trials())
    results.keep(trials)
    for found in each(lambda trial: results.examined(trial, _glance, now), trials):
        yield from found
    yield from _damaged_documents(run)


def _glance(trial: TrialFolder, result: bytes | None) -> Examined[Finding]:
    judged = trial_files.judge_result(result)
    return list(trial_files.examine_beside(trial, judged, thorough=False)), judged.whole


def _damaged_documents(run: RunDirectory) -> Iterator[Finding]:
    yield from (finding for finding in documents.examine(run) if finding.damage)


def examine(
    run: RunDirectory,
    progress: Callable[[int], object] = lambda done: None,
    imported: bool = False,
    plugins: Sequence[Path] = (),
) -> Iterator[Finding]:
    """Everything that is wrong with a run directory; it is only read, but for a touch that asks for the clock.

    Args:
        run: the run directory.
        progress: told after each trial how many have been looked at.
        imported: import the plugins that the run names, and so run their code, to compare search spaces too.
        plugins: folders of plugins to import in place of those.

    Raises:
        RequestError: no sweep was begun there.
    """
    if not run.begun():
        raise RequestError(f"{run.path}: no run directory (it holds no studies); give the folder of a sweep")
    refuse_links(run)
    whole = folders.unwritable(run.path)
    places = [run.path] if whole is not None and whole.by == "user" else run_files.folders(run)
    closed = [finding for folder in places if (finding := folders.unwritable(folder)) is not None]
    yield from closed
    try:
        server_now(run.path)
    except OSError:
        # Neither the clock nor leases can be judged there; what the files hold can.
        if not closed:
            yield Finding("read-only", run.path, "nothing can be written there", "mount it writable", by="user")
        yield from damage(run)
        return
    yield from leases.clock_difference(run.path)
    yield from documents.examine(run)
    yield from index.examine(run)
    for done, trial in enumerate(run.trials(described=False), start=1):
        yield from _trial(trial)
        progress(done)
    for study in run.study_folders():
        yield from studies.examine_trials(study)
    yield from studies.examine_code(run, imported, plugins)
    yield from jobs.examine(run)
    for folder in run_files.lease_folders(run):
        yield from leases.examine(folder)
    yield from folders.leftovers(run_files.folders(run), run.path)


def _trial(trial: TrialFolder) -> Iterator[Finding]:
    writable = folders.unwritable(trial.path) is None
    yield from trial_files.examine(trial, thorough=True)
    yield from trial_files.orphaned(trial)
    if writable:
        yield from trial_files.lost(trial)
        yield from leases.examine(trial.path, trial)
