"""The index of results: with it everybody says what they say without it, whatever becomes of files and of itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from home import truncate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

import harness.run.index
from benchmarks import scale
from harness.doctor.__main__ import main as doctor
from harness.run.directory import RunDirectory
from harness.run.index import ResultIndex, entries_of
from harness.run.inventory import artefact
from harness.run.trial import TrialFolder
from harness.status.status import StatusReader
from harness.studies.study import Roots, Study
from harness.sweep.prepare import fix
from harness.work.scheduler import Scheduler

TRIALS = 12


@dataclass(frozen=True)
class Made:
    """A finished run of two studies that nothing was trained for, and a copy of its files to begin again with."""

    run: RunDirectory
    pristine: Path
    studies: list[Study]
    spec: Any

    def restore(self) -> list[TrialFolder]:
        shutil.rmtree(self.run.path, ignore_errors=True)
        shutil.copytree(self.pristine, self.run.path)
        return list(self.run.trials())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Iterator[Made]:
    folder, roots = tmp_path_factory.mktemp("index"), Roots(shared_cache / "none", shared_cache)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("METHODS", 2), ("DATASETS", 1), ("SEEDS", 2)):
            patch.setattr(scale, name, value)
        # Every look may write the index, and knows whatever is older than the tick of the clock.
        limits = (("NEW_ENTRIES", 1), ("NEW_SHARE", 0.0), ("SETTLED_SECONDS", 0.0), ("SLOW_SECONDS", -1.0))
        for name, value in limits:
            patch.setattr(harness.run.index, name, value)
        scale.make(folder / "run", TRIALS, roots)
        run = RunDirectory(folder / "run")
        shutil.copytree(run.path, folder / "pristine")
        spec, studies = scale.studies_of(run, roots)
        yield Made(run, folder / "pristine", studies, spec)


def look(made: Made) -> None:
    """What a sweep command does first, so that every trial is known."""
    time.sleep(0.02)
    fix(made.run, False, Console(quiet=True), ResultIndex(made.run))


def said(made: Made) -> list[Any]:
    """What status, a sweep that goes on and a worker say of the run."""

    def resumed() -> object:
        index = ResultIndex(made.run)
        fix(made.run, False, Console(quiet=True), index)
        return scheduled(index)

    def scheduled(index: ResultIndex) -> object:
        scheduler = Scheduler.of(made.run, made.spec, made.studies, index=index)
        return scheduler.complete(), [state.results.read for state in scheduler.states]

    def status() -> object:
        told = StatusReader(made.run).read().to_json()
        return {key: value for key, value in told.items() if key not in ("time", "expected_end", "seconds_left")}

    def outcome(ask: Callable[[], object]) -> object:
        try:
            return ask()
        except Exception as error:  # noqa: BLE001  (whatever it is, it has to be the same)
            return repr(error)

    # The status last, because a scheduler writes a choice down.
    return [outcome(resumed), outcome(lambda: scheduled(ResultIndex(made.run))), outcome(status)]


def said_without(made: Made, patch: pytest.MonkeyPatch) -> list[Any]:
    with patch.context() as without:
        without.setattr(harness.run.index, "entries_of", lambda path: {})
        without.setattr(harness.run.index, "NEW_ENTRIES", 10**9)
        return said(made)


def replace(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def changed_in_place(trial: TrialFolder) -> None:
    """Another score in as many bytes, and the old time stamps."""
    status, content = trial.read_result()
    trial.result_path.write_bytes(content.replace(b"0.", b"1.", 1))
    os.utime(trial.result_path, ns=(status.st_atime_ns, status.st_mtime_ns))


def made_anew(run: RunDirectory, trial: TrialFolder) -> None:
    """Its study is set aside and another one takes its place, with other results under the same names."""
    study = run.study(trial.path.parent.parent.name)
    aside = run.set_study_aside(study)
    shutil.copytree(aside, study.path)
    for other in study.every_trial():
        if other.finished:
            changed_in_place(other)


Change = Callable[[RunDirectory, TrialFolder, TrialFolder], object]

CHANGES: dict[str, Change] = {
    "result removed": lambda run, trial, other: trial.result_path.unlink(missing_ok=True),
    "result truncated": lambda run, trial, other: truncate(trial.result_path),
    "result emptied": lambda run, trial, other: trial.result_path.write_bytes(b""),
    "result changed in place": lambda run, trial, other: changed_in_place(trial),
    "result of another trial": lambda run, trial, other: replace(trial.result_path, other.result_path.read_bytes()),
    "result of another version": lambda run, trial, other: replace(trial.result_path, b'{"status": "done"}'),
    "result with line breaks in a text": lambda run, trial, other: replace(trial.result_path, b'{"status": "d\none"}'),
    "request removed": lambda run, trial, other: trial.request_path.unlink(missing_ok=True),
    "curve torn": lambda run, trial, other: replace(trial.curve_path, b'{"epo'),
    "trial removed": lambda run, trial, other: shutil.rmtree(trial.path),
    "study made anew": lambda run, trial, other: made_anew(run, trial),
    "index removed": lambda run, trial, other: run.index_path.unlink(missing_ok=True),
    "index torn": lambda run, trial, other: truncate(run.index_path),
    "index emptied": lambda run, trial, other: run.index_path.write_bytes(b""),
    "index of another version": lambda run, trial, other: replace(
        run.index_path, run.index_path.read_bytes().replace(b'"format": 2', b'"format": 1')
    ),
    "index edited": lambda run, trial, other: replace(
        run.index_path, run.index_path.read_bytes().replace(b"accuracy", b"accurate")
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_shows(change: str, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = made.restore()
    look(made)
    whole = said_without(made, monkeypatch)
    assert said(made) == whole and len(entries_of(made.run.index_path)) == TRIALS
    CHANGES[change](made.run, trials[1], trials[2])
    wanted = said_without(made, monkeypatch)
    assert (wanted == whole) == change.startswith("index"), "the change is one that can be seen"
    assert said(made) == wanted
    assert said(made) == wanted


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(0, 3), st.integers(0, 3)), max_size=5))
def test_any_changes_in_a_row_show(made: Made, changes: list[tuple[str, int, int]]) -> None:
    made.restore()
    look(made)
    with pytest.MonkeyPatch.context() as patch:
        for change, number, other in changes:
            trials = list(made.run.trials())
            try:
                CHANGES[change](made.run, trials[number], trials[other])
            except FileNotFoundError:
                continue
            assert said(made) == said_without(made, patch)


def test_what_is_known_is_not_read(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = made.restore()
    look(made)
    # The doctor reads everything and leaves every folder as it was; the archive leaves the index out.
    doctor([str(made.run.path)])
    assert made.run.index_path.name not in artefact(made.run)

    def refused(*asked: object) -> Any:
        raise AssertionError(asked)

    with monkeypatch.context() as closed:
        closed.setattr(TrialFolder, "read_result", refused)
        closed.setattr("harness.doctor.trial_files._faults", refused)
        closed.setattr(TrialFolder, "result", refused)
        assert said(made)[2]["complete"] and said(made)[0][0]
        (trials[0].path / "note.txt").write_text("a file more")
        with pytest.raises(AssertionError):
            fix(made.run, False, Console(quiet=True), ResultIndex(made.run))


def test_when_it_is_written(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """From so many results on, and then when a share of it is new; what has just been written may still change."""
    trials = made.restore()
    path = made.run.index_path
    time.sleep(0.02)
    monkeypatch.setattr(harness.run.index, "NEW_SHARE", 0.25)
    for needed, known, expected in ((9, 8, 0), (8, 8, 8), (1, 9, 8), (1, 10, 10), (1, 12, 10)):
        monkeypatch.setattr(harness.run.index, "NEW_ENTRIES", needed)
        index = ResultIndex(made.run)
        index.contents(trials[:known], time.time())
        index.save()
        assert len(entries_of(path)) == expected, (needed, known)
    path.unlink()
    monkeypatch.setattr(harness.run.index, "SETTLED_SECONDS", 60.0)
    index = ResultIndex(made.run)
    index.contents(trials, time.time())
    index.save()
    assert not path.exists()


def test_none_is_begun_where_files_are_quick(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.restore()
    monkeypatch.setattr(harness.run.index, "SLOW_SECONDS", 60.0)
    assert said(made)[2]["complete"] and not made.run.index_path.exists()


def test_killed_while_it_is_written(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = made.restore()
    look(made)
    before = made.run.index_path.read_bytes()
    replace(trials[0].result_path, trials[0].result_path.read_bytes())
    time.sleep(0.02)
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(os, "fsync", lambda descriptor: os.kill(os.getpid(), signal.SIGKILL))
        StatusReader(made.run).read()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert made.run.index_path.read_bytes() == before
    assert said(made) == said_without(made, monkeypatch)
    assert made.run.index_path.read_bytes() != before


def test_nowhere_to_write_it(made: Made, small_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made.restore()
    disk = small_disk("size=1m")
    run = RunDirectory(Path(shutil.copytree(made.run.path, disk / "run")))
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * shutil.disk_usage(disk).free)
    time.sleep(0.02)
    # The clock's file is empty and fits.
    assert StatusReader(run).read().overview.complete
    assert [path.name for path in run.path.iterdir() if path.is_file()] == ["spec.json"]
    ballast.unlink()
    small_disk("ro")
    assert StatusReader(run).read().overview.complete


def wrong_entry(path: Path) -> None:
    """An index that is whole in itself and says what a result does not, under its stamp."""
    body = (
        path.read_bytes()
        .partition(b"\n")[2]
        .replace(b'"status":"done"', b'"status":"fail"')
        .replace(b'"status": "done"', b'"status": "fail"', 1)
    )
    path.write_bytes(harness.run.index._header(body) + body)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (truncate, "torn"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'"format": 2', b'"format": 9', 1)), "other version"),
        (wrong_entry, "wrong"),
    ],
)
def test_the_doctor_knows_it(
    fault: Callable[[Path], object], kind: str, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made.restore()
    look(made)
    path = made.run.index_path

    def found(*extra: str) -> set[str]:
        capsys.readouterr()
        doctor([str(made.run.path), "--json", *extra])
        findings = json.loads(capsys.readouterr().out)["findings"]
        return {finding["kind"] for finding in findings if finding["place"] == path.name}

    assert found() == set()
    fault(path)
    assert found() == {kind}
    assert found("--fix") == {kind} and not path.exists()
    assert (made.run.path / "set_aside" / f"{path.name}.1").exists() and found() == set()
