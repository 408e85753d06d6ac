"""Keeps a run's report in step with its results: written once for each state of them, by whoever gets there first."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_atomic
from harness.identity import canonical_hash
from harness.lease import hold
from harness.store import RunDirectory


def refresh_report(run: RunDirectory) -> Path:
    """Write the report unless it already shows the present results; returns the page's path."""
    from analysis.report import write_report

    page = run.report / "report.html"
    stamp = run.report_state
    with hold(run.lock_folder):
        state = _state(run)
        if not page.exists() or not stamp.exists() or stamp.read_text() != state:
            write_report(run)
            write_atomic(stamp, state.encode())
    return page


def _state(run: RunDirectory) -> str:
    import analysis

    sources = sorted(Path(analysis.__file__).parent.rglob("*.*"))
    return canonical_hash(
        {
            "spec": run.spec(),
            "finished": [str(trial.path.relative_to(run.path)) for trial in run.trials() if trial.finished],
            "started": [str(trial.path.relative_to(run.path)) for trial in run.trials() if not trial.finished],
            "program": [[path.name, path.stat().st_mtime_ns] for path in sources if "__pycache__" not in path.parts],
        }
    )
