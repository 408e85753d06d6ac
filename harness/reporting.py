"""Keeps a run's report in step with its results: written once for each state of them, by whoever gets there first."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_atomic
from harness.identity import canonical_hash
from harness.lease import hold
from harness.reading_ahead import each
from harness.run_reading import Seen
from harness.store import RunDirectory

NOTHING = Seen({}, ())


def refresh_report(run: RunDirectory) -> Path:
    """Write the report unless it already shows the present results; returns the page's path."""
    from analysis.report import write_report

    while True:
        with hold(run.lock_folder) as lease:
            if report_is_current(run):
                break
            state = results_state(run)
            write_report(run)
            if lease.held:
                write_atomic(run.report_state, state.encode())
                break
            # It slept so long that another one took over; what that one wrote may be newer, and is now overwritten.
            run.report_state.unlink(missing_ok=True)
    return run.report_page


def report_is_current(run: RunDirectory, seen: Seen = NOTHING) -> bool:
    """Whether the report is written to its end and shows the present results.

    Args:
        run: the run directory.
        seen: what need not be looked at again.
    """
    try:
        shown = run.report_state.read_text()
    except FileNotFoundError:
        return False
    return run.report_page.exists() and shown == results_state(run, seen)


def results_state(run: RunDirectory, seen: Seen = NOTHING) -> str:
    """Changes with the results of a run, and with the program that shows them.

    Args:
        run: the run directory.
        seen: what need not be looked at again.
    """
    import analysis

    trials = list(run.trials(listed=seen.listed))
    unknown = [trial for trial in trials if str(trial.path) not in seen.finished]
    found = zip(unknown, each(lambda trial: trial.finished, unknown), strict=True)
    ended = {*seen.finished, *(str(trial.path) for trial, is_finished in found if is_finished)}
    # Not by ``relative_to``, which would take longer than all the rest.
    start = len(str(run.path)) + 1
    names = [(path[start:], path in ended) for path in (str(trial.path) for trial in trials)]
    sources = sorted(Path(analysis.__file__).parent.rglob("*.*"))
    return canonical_hash(
        {
            "spec": run.spec(),
            "finished": [name for name, is_finished in names if is_finished],
            "started": [name for name, is_finished in names if not is_finished],
            "program": [[path.name, path.stat().st_mtime_ns] for path in sources if "__pycache__" not in path.parts],
        }
    )
