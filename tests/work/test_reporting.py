"""When a report counts as written, and what becomes of one whose writer has to go."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from home import Home

from harness.core.lease import view
from harness.run.directory import RunDirectory
from harness.studies.study import Roots
from harness.work import reporting
from harness.work.reporting import refresh_report, report_is_current
from harness.work.worker import EXIT_STOPPED, Worker, stop_on_signals
from slurm.disturbances import ended


@pytest.fixture
def run(home: Home) -> RunDirectory:
    """A finished run whose report is current."""
    assert ended(RunDirectory(home.run))
    return RunDirectory(home.run)


@pytest.fixture
def own_signals() -> Iterator[None]:
    """What a signal does after the test is what it did before."""
    kinds = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
    before = {kind: signal.getsignal(kind) for kind in kinds}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


def test_a_report_of_earlier_results_is_not_the_end(run: RunDirectory) -> None:
    """Whoever waits for the end must not take a report for it that is being replaced."""
    current = run.report_state.read_text()
    run.report_state.write_text("of earlier results")
    assert not ended(run)
    run.report_state.write_text(current)
    page = run.report_page.rename(run.path / "elsewhere")
    assert not ended(run)
    page.rename(run.report_page)
    assert ended(run)


def test_a_writer_that_is_told_to_stop_lets_others_write_at_once(
    run: RunDirectory, home: Home, monkeypatch: pytest.MonkeyPatch, own_signals: None
) -> None:
    """On another node its lease would otherwise stand for two minutes after it was killed."""
    run.report_state.unlink()
    stop = threading.Event()
    stop_on_signals(stop)

    def write_for_long(run: RunDirectory, plugins: Sequence[Path]) -> None:
        assert not view(run.lock_folder).dead  # type: ignore[union-attr]
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr("analysis.report.write_report", write_for_long)
    worker = Worker(run, Roots(home.cache / "none", home.cache), torch.device("cpu"), 1, stop)
    assert worker.work() == EXIT_STOPPED
    lease = view(run.lock_folder)
    assert lease is not None and lease.content["released"] == "done"
    assert not report_is_current(run)


def test_a_writer_that_was_succeeded_in_its_sleep_leaves_no_older_report_behind(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis import report

    run.report_state.unlink()
    written = []
    write_report = report.write_report

    def sleep_then_write(run: RunDirectory, plugins: Sequence[Path]) -> report.ReportPaths:
        lease = view(run.lock_folder)
        assert lease is not None
        if not written:
            successor: Path = run.lock_folder / f"lease.{lease.number + 1:04d}"
            successor.write_text(json.dumps({"released": "done"}))
            run.report_state.write_text("of the successor")
        written.append(lease.number)
        return write_report(run, plugins=plugins)

    monkeypatch.setattr(report, "write_report", sleep_then_write)
    refresh_report(run)
    assert written == [written[0], written[0] + 2]
    assert report_is_current(run)


def test_results_of_the_same_names_and_times_are_other_results(run: RunDirectory) -> None:
    """Fault F1: the old report stayed after all trials had run again, because only their names were looked at."""
    trial = next(iter(run.trials()))
    times = trial.result_path.stat()
    content = trial.result_path.read_text()
    changed = content.replace('"epochs": 1', '"epochs": 2')
    assert changed != content and len(changed) == len(content)
    trial.result_path.write_text(changed)
    os.utime(trial.result_path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not report_is_current(run) and not ended(run)
    trial.result_path.write_text(content)
    assert report_is_current(run)


@pytest.mark.parametrize("name", ["spec.json", "environment.json", "cards/*.json", "studies/*/study.json", "splits/*"])
def test_a_report_shows_more_than_results(run: RunDirectory, name: str) -> None:
    (path,) = run.path.glob(name)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"}", b" }", 1))
    assert not report_is_current(run)
    path.write_bytes(content)
    assert report_is_current(run)


def test_a_study_that_was_set_aside_changes_the_report(run: RunDirectory) -> None:
    (study,) = run.studies()
    aside = run.set_study_aside(study)
    assert not report_is_current(run)
    aside.rename(study.path)
    assert report_is_current(run)


@pytest.mark.parametrize(("package", "changed"), [("analysis", "report.py"), ("harness", "pages/templates/page.css")])
def test_a_report_of_an_earlier_program_is_not_current(
    run: RunDirectory, package: str, changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    folder = Path(module.__file__).parent
    copy = shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "__file__", str(copy / "__init__.py"))
    try:
        reporting._program.cache_clear()
        assert report_is_current(run)
        (copy / changed).write_text("")
        reporting._program.cache_clear()
        assert not report_is_current(run)
    finally:
        reporting._program.cache_clear()
