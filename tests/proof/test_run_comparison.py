"""The comparison that every proof by disturbance ends in: it names each difference, and never raises."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import made_up_records
import pytest
from home import Home, truncate

from harness.proof.comparison import repeated_work, run_differences, trial_differences
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder


def difference(home: Home, finished: Home) -> str:
    """The one line that says what is different between a copy and the run that it was copied from, seen both ways."""
    (line,) = run_differences(RunDirectory(finished.run), RunDirectory(home.run))
    (other,) = run_differences(RunDirectory(home.run), RunDirectory(finished.run))
    assert line.split(":")[0] == other.split(":")[0]
    return line


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00not what it should be")


def unreadable(path: Path) -> None:
    """A folder in the place of a file cannot be read by anybody, not even by root."""
    path.unlink()
    path.mkdir()


def test_equal_runs_have_no_difference(home: Home, finished_home: Home) -> None:
    assert run_differences(RunDirectory(home.run), RunDirectory(finished_home.run)) == []


def test_a_trial_done_in_one_run_and_failed_in_the_other(home: Home, finished_home: Home) -> None:
    trial = home.confirm_trial
    edit(trial / "result.json", status="failed", cause="bug", message="OSError: out of luck", metrics={})
    (trial / "predictions.parquet").unlink()
    line = difference(home, finished_home)
    assert "first: done; second: failed, bug: OSError: out of luck" in line


@pytest.mark.parametrize("damage", [Path.unlink, truncate, garbage, unreadable])
@pytest.mark.parametrize(
    ("stage", "name", "what"),
    [
        ("search", "trial.json", "requests"),
        ("search", "result.json", "results"),
        ("search", "curve.jsonl", "curves"),
        ("confirm", "predictions.parquet", "predictions"),
        ("study", "chosen.json", "chosen configurations"),
        ("study", "study.json", "studies"),
    ],
)
def test_what_is_missing_or_cannot_be_read(
    stage: str, name: str, what: str, damage: Callable[[Path], None], home: Home, finished_home: Home
) -> None:
    folder = {"search": home.search_trial, "confirm": home.confirm_trial, "study": home.study}[stage]
    damage(folder / name)
    line = difference(home, finished_home)
    assert f": {what} (" in line and line.endswith("differ")
    assert ("second: missing" in line) == (damage is Path.unlink)


@pytest.mark.parametrize("name", ["trial.json", "result.json", "curve.jsonl", "predictions.parquet"])
def test_what_both_runs_lack_is_no_agreement(name: str, home: Home, finished_home: Home, tmp_path: Path) -> None:
    other = finished_home.copy(tmp_path / "other")
    for one in (home, other):
        (one.confirm_trial / name).unlink()
    (line,) = run_differences(RunDirectory(home.run), RunDirectory(other.run))
    assert "(missing in both runs)" in line


@pytest.mark.parametrize("text", ["[1]\n", "{}\n", '{"epoch": 3, "prune": true, "seconds": 1.0}\n', "nonsense\n"])
def test_decisions_of_one_run_only(text: str, home: Home, finished_home: Home) -> None:
    (home.search_trial / "decisions.jsonl").write_text(text)
    assert ": decisions" in difference(home, finished_home)


def test_values_are_compared_to_the_last_bit(home: Home, finished_home: Home, tmp_path: Path) -> None:
    other = finished_home.copy(tmp_path / "other")
    for one, value in ((home, float("nan")), (other, float("nan"))):
        edit(one.search_trial / "result.json", metrics={"val": {"nll": value}})
    assert run_differences(RunDirectory(home.run), RunDirectory(other.run)) == []
    edit(home.search_trial / "result.json", metrics={"val": {"nll": 0.0}})
    edit(other.search_trial / "result.json", metrics={"val": {"nll": -0.0}})
    (line,) = run_differences(RunDirectory(home.run), RunDirectory(other.run))
    assert line.endswith("results differ")


def test_a_trial_and_a_study_of_one_run_only(home: Home, finished_home: Home) -> None:
    home.search_trial.rename(home.search_trial.with_name("0007-s0"))
    lines = run_differences(RunDirectory(finished_home.run), RunDirectory(home.run))
    assert [line.split(":")[0].rsplit("/", 1)[1] for line in lines] == ["0000-s0", "0007-s0"]
    assert str(finished_home.run) in lines[0] and str(home.run) in lines[1]
    home.study.rename(home.study.with_name("other@zero_one"))
    assert len(run_differences(RunDirectory(finished_home.run), RunDirectory(home.run))) > 4


def test_folders_that_cannot_be_listed(home: Home, finished_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).startswith(str(home.run)) and Path(path).name in ("search", "sources"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    lines = run_differences(RunDirectory(finished_home.run), RunDirectory(home.run))
    assert sum("cannot be listed: unreadable, PermissionError" in line for line in lines) == 2


def test_a_kept_network_is_compared_by_its_tensors(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save

    def trial(name: str, values: list[float], metadata: dict[str, str]) -> TrialFolder:
        folder = TrialFolder(tmp_path / name, "source")
        folder.create()
        folder.write_request(made_up_records.request("source"))
        folder.write_curve([made_up_records.epoch(0)])
        folder.finish(made_up_records.result("source"))
        folder.model_path.write_bytes(save({"w": np.array(values)}, metadata))
        return folder

    first, same = trial("1", [1.0, 2.0], {"a": "1", "b": "2"}), trial("2", [1.0, 2.0], {"b": "2", "a": "1"})
    assert trial_differences(first, same) == []
    assert trial_differences(first, trial("3", [1.0, 2.5], {})) == ["weights"]
    same.model_path.write_bytes(b"torn")
    (line,) = trial_differences(first, same)
    assert line.startswith("weights (first: there; second: unreadable, SafetensorError")
    same.model_path.unlink()
    assert trial_differences(first, same) == ["weights (first: there; second: missing)"]


def test_work_that_was_lost_or_done_twice(home: Home) -> None:
    assert repeated_work(RunDirectory(home.run)) == []
    lease = home.search_trial / "lease.0001"
    (home.search_trial / "lease.0002").write_bytes(lease.read_bytes())
    (home.confirm_trial / "result.json").unlink()
    lines = repeated_work(RunDirectory(home.run))
    assert len(lines) == 2 and "finished 2 times" in lines[0] and "never finished" in lines[1]
    lease.unlink()
    lease.mkdir()
    assert "its attempts cannot be read" in repeated_work(RunDirectory(home.run))[0]
