"""Keeps a run's report in step with its results: written once for each state of them, by whoever gets there first."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_atomic
from harness.identity import canonical_hash
from harness.lease import hold
from harness.reading_ahead import each
from harness.store import RunDirectory


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


def report_is_current(run: RunDirectory) -> bool:
    """Whether the report is written to its end and shows the present results."""
    try:
        shown = run.report_state.read_text()
    except FileNotFoundError:
        return False
    return run.report_page.exists() and shown == results_state(run)


def results_state(run: RunDirectory) -> str:
    """Changes with the results of a run, and with the program that shows them."""
    import analysis

    trials = list(run.trials())
    # Not by ``relative_to``, which would take longer than all the rest.
    names = [str(trial.path)[len(str(run.path)) + 1 :] for trial in trials]
    finished = dict(zip(names, each(lambda trial: trial.finished, trials), strict=True))
    sources = sorted(Path(analysis.__file__).parent.rglob("*.*"))
    return canonical_hash(
        {
            "spec": run.spec(),
            "finished": [name for name, done in finished.items() if done],
            "started": [name for name, done in finished.items() if not done],
            "program": [[path.name, path.stat().st_mtime_ns] for path in sources if "__pycache__" not in path.parts],
        }
    )
