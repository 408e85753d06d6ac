"""Faults put into a run: each is named, ``--fix`` fixes or sets aside, and the sweep ends as if undisturbed."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from home import Home, content, truncate

from harness.core.lease import EXPIRY_SECONDS, claim
from harness.doctor import leases
from harness.doctor.__main__ import main as doctor
from harness.launch.slurm.files import SlurmFiles
from harness.proof.comparison import run_differences
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder

Fault = Callable[[Path], object]

HOUR = 3600.0


def another_version(path: Path) -> None:
    """What a later or earlier program would have written, whole in itself."""
    if path.suffix == ".parquet":
        import polars as pl

        pl.DataFrame({"case": ["a"], "score": [0.5]}).write_parquet(path)
    elif path.suffix == ".pt":
        torch.save({"format": 99, "everything": torch.zeros(3)}, path)
    elif path.suffix == ".jsonl":
        path.write_text('{"e": 1, "loss": 0.1}\n')
    else:
        path.write_text('{"version": 99, "content": {}}')


FAULTS: dict[str, Fault] = {
    "truncated": truncate,
    "emptied": lambda path: path.write_bytes(b""),
    "of another version": another_version,
    "removed": Path.unlink,
}


@pytest.fixture(scope="module")
def larger_home(finished_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The finished sweep with one more confirm trial."""
    home = finished_home.copy(tmp_path_factory.mktemp("larger") / "home")
    home.file.write_text(home.file.read_text().replace("seeds: [1000]", "seeds: [1000, 1001]"))
    home.sweep()
    return home


@pytest.fixture
def sick(larger_home: Home, home: Home) -> Home:
    """A copy of it, whose second confirm trial was killed, with a checkpoint that it began with."""
    shutil.rmtree(home.path)
    copy = larger_home.copy(home.path)
    stopped = last_trial(copy)
    stopped.result_path.unlink()
    lease = stopped.path / "lease.0001"
    held = json.loads(lease.read_text())
    del held["released"]
    lease.write_text(json.dumps({**held, "host": "elsewhere", "hostname": "node7"}))
    os.utime(lease, (1e9, 1e9))
    torch.save({"format": 1, "progress": list(range(1000))}, stopped.checkpoint_path)
    return copy


def last_trial(home: Home) -> TrialFolder:
    return RunDirectory(home.run).study("my_probe@zero_one").trials("confirm")[-1]


def targets(home: Home) -> list[Path]:
    """Every file that a run with a finished and a stopped trial depends on."""
    (first, stopped), run = RunDirectory(home.run).study("my_probe@zero_one").trials("confirm"), home.run
    trials = [
        first.request_path,
        first.result_path,
        first.curve_path,
        first.predictions_path,
        first.path / "lease.0001",
    ]
    documents = ["spec.json", "environment.json", "plan.json", "splits/zero_one.json", "cards/zero_one.json"]
    return [
        *trials,
        stopped.checkpoint_path,
        home.study / "study.json",
        home.study / "chosen.json",
        *(run / name for name in documents),
    ]


def diagnosis(home: Home, capsys: pytest.CaptureFixture[str], *extra: str, expect: int) -> list[dict[str, Any]]:
    capsys.readouterr()
    code = doctor([str(home.run), "--json", *extra])
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["findings"]
    assert code == expect, found
    return found


def places(found: list[dict[str, Any]]) -> set[str]:
    return {finding["place"] for finding in found}


def is_well(home: Home, larger_home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """The sweep goes on, needs no repair, and ends with what the undisturbed one ended with."""
    home.sweep()
    run = RunDirectory(home.run)
    assert run_differences(run, RunDirectory(larger_home.run)) == []
    assert diagnosis(home, capsys, expect=0) == []


@pytest.mark.parametrize("kind", ["truncated", "emptied", "of another version"])
def test_every_file_at_once(kind: str, sick: Home, larger_home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = targets(sick)
    old_lease = time.time() - EXPIRY_SECONDS - 10
    for path in damaged:
        FAULTS[kind](path)
        os.utime(path, (old_lease, old_lease))
    before = content(sick.run)
    named = diagnosis(sick, capsys, expect=1)
    assert {str(path.relative_to(sick.run)) for path in damaged} <= places(named)
    assert content(sick.run) == before, "without --fix nothing is touched"
    diagnosis(sick, capsys, "--fix", expect=0)
    aside = sick.run / "set_aside"
    for path in damaged:
        name = str(path.relative_to(sick.run))
        assert (aside / f"{name}.1").read_bytes() == before[name], f"{path} is lost"
    is_well(sick, larger_home, capsys)


def test_what_is_lost_is_named_and_made_again(
    sick: Home, larger_home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    # Without a plan, which runs from before there was one lack too, the sweep command publishes the next.
    for path in (path for path in targets(sick) if path.name != "plan.json"):
        whole = path.read_bytes()
        stamp = path.stat().st_mtime
        path.unlink()
        assert str(path.relative_to(sick.run)) in places(diagnosis(sick, capsys, expect=1))
        path.write_bytes(whole)
        os.utime(path, (stamp, stamp))
    first, stopped = RunDirectory(sick.run).study("my_probe@zero_one").trials("confirm")
    gone = [first.request_path, first.path / "lease.0001", stopped.checkpoint_path, sick.study / "study.json"]
    for path in (*gone, sick.run / "spec.json", sick.search_trial / "curve.jsonl"):
        path.unlink()
    diagnosis(sick, capsys, "--fix", expect=0)
    is_well(sick, larger_home, capsys)


def test_owners_that_are_gone_and_clocks_that_are_wrong(
    sick: Home, larger_home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "WATCH_SECONDS", 0.3)
    first, stopped = RunDirectory(sick.run).study("my_probe@zero_one").trials("confirm")
    stopped.checkpoint_path.unlink()
    first.result_path.unlink()
    now = time.time()
    for trial, seen in ((first, now + HOUR), (stopped, now - HOUR)):
        lease = claim(trial.path, slurm_job="7_1")
        assert lease is not None
        lease.note(host="elsewhere", hostname="node7")
        os.utime(lease.path, (seen, seen))
    sick.search_trial.chmod(0o500)
    leftover = sick.search_trial / ".result.json.0a1b2c.tmp"
    leftover.write_text("{")
    os.utime(leftover, (now - HOUR, now - HOUR))
    (sick.search_trial / "checkpoint.pt").write_bytes(b"x" * 1000)
    found = {(finding["kind"], finding["place"]): finding["what"] for finding in diagnosis(sick, capsys, expect=1)}

    def said(kind: str, path: Path) -> str:
        return str(found[kind, str(path.relative_to(sick.run))])

    assert "node7 (job 7_1) was last seen 60 min in the future" in said("clock", first.path / "lease.0002")
    assert "node7 (job 7_1), last seen 60 min ago, is gone" in said("dead lease", stopped.path / "lease.0002")
    assert "no worker can write" in said("read-only", sick.search_trial)
    assert "nothing reads" in said("leftover", leftover)
    assert "belong to a finished trial" in said("orphaned checkpoint", sick.search_trial / "checkpoint.pt")
    diagnosis(sick, capsys, "--fix", expect=0)
    assert not leftover.exists() and (sick.run / "set_aside").is_dir()
    is_well(sick, larger_home, capsys)


def test_a_living_workers_trial_is_left_alone(sick: Home, capsys: pytest.CaptureFixture[str]) -> None:
    trial = last_trial(sick)
    lease = claim(trial.path)
    assert lease is not None
    truncate(trial.checkpoint_path)
    before = content(sick.run)
    found = diagnosis(sick, capsys, "--fix", expect=1)
    assert [finding["place"] for finding in found if finding["left"]] == [
        str(trial.checkpoint_path.relative_to(sick.run))
    ]
    assert content(sick.run) == before
    (trial.path / "lease.0002").write_text("{")
    said = {finding["place"]: finding["what"] for finding in diagnosis(sick, capsys, "--fix", expect=1)}
    assert "its owner may live" in said[str((trial.path / "lease.0002").relative_to(sick.run))]


def test_stale_studies_and_trials(sick: Home, larger_home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    request = sick.search_trial / "trial.json"
    result = sick.search_trial / "result.json"
    identity = json.loads(request.read_text())["identity"]
    for path in (request, result):
        path.write_text(path.read_text().replace(identity, "0" * 64))
    (found,) = [one for one in diagnosis(sick, capsys, expect=1) if one["kind"] == "stale"]
    assert found["place"] == str(request.relative_to(sick.run)) and "not that of its study" in found["what"]
    last_trial(sick).checkpoint_path.unlink()
    diagnosis(sick, capsys, "--fix", expect=0)
    is_well(sick, larger_home, capsys)
    spec = sick.run / "spec.json"
    spec.write_text(spec.read_text().replace('"epochs": 1', '"epochs": 3'))
    (found,) = diagnosis(sick, capsys, "--fix", expect=1)
    assert found["what"] == "train.epochs: 1 → 3" and "--stale rerun" in found["remedy"]


def test_jobs_that_only_slurm_or_only_the_run_knows(
    sick: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_trial(sick).checkpoint_path.unlink()
    files = SlurmFiles(RunDirectory(sick.run))
    files.write_launch({"job_name": "tiny-1234", "workers": 2, "profile": {}})
    files.record_submission("7", 2)
    record = files.job_path("7_0", 0)
    files.write_job(record, {"job": "7_0", "restart": 0, "host": "n1", "started": 1.0, "state": "running"})
    os.utime(record, (1.0, 1.0))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, lines in (("squeue", "9_1|RUNNING|n2|None\n9_2|PENDING||Priority"), ("sacct", "7_0|NODE_FAIL|0:0")):
        (programs / name).write_text(f"#!/bin/sh\ncat <<END\n{lines}\nEND\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    found = {finding["kind"]: finding["what"] for finding in diagnosis(sick, capsys, "--fix", expect=0)}
    assert "job 9 (2 in the queue)" in found["unknown job"]
    assert "7_0: Slurm no longer knows it" in found["lost job"] and "NODE_FAIL" in found["lost job"]
    assert [(entry["job"], entry["tasks"]) for entry in files.submissions()] == [("7", 2), ("9", 3)]
    truncate(record)
    assert "torn" in {finding["kind"] for finding in diagnosis(sick, capsys, "--fix", expect=0)}
    assert not record.exists()


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor([str(tmp_path)]) == 2
    assert "no run directory" in capsys.readouterr().err


def test_a_disk_that_became_read_only(
    larger_home: Home, capsys: pytest.CaptureFixture[str], small_disk: Callable[..., Path]
) -> None:
    disk = small_disk("size=8m")
    copy = larger_home.copy(disk / "home")
    small_disk("ro")
    (found,) = diagnosis(copy, capsys, "--fix", expect=1)
    assert found["kind"] == "read-only" and found["by"] == "user"


def test_nothing_is_fixed_where_no_plan_can_be_withdrawn(sick: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder in the place of the plan: one line, and no file is moved."""
    FAULTS["truncated"](sick.search_trial / "curve.jsonl")
    (sick.run / "plan.json").unlink()
    (sick.run / "plan.json").mkdir()
    before = content(sick.run)
    capsys.readouterr()
    assert doctor([str(sick.run), "--fix"]) == 2
    assert "plan.json: a link, a folder, a pipe or a device where a plain file belongs" in capsys.readouterr().err
    assert content(sick.run) == before


@pytest.mark.large
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("number", range(13))
def test_one_by_one(number: int, kind: str, sick: Home, larger_home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Fifty-two faults, each alone in a run of its own."""
    path = targets(sick)[number]
    checkpoint = last_trial(sick).checkpoint_path
    if path != checkpoint:
        checkpoint.unlink()
    FAULTS[kind](path)
    if path.exists():
        os.utime(path, (1e9, 1e9))
    assert str(path.relative_to(sick.run)) in places(diagnosis(sick, capsys, expect=1))
    diagnosis(sick, capsys, "--fix", expect=0)
    is_well(sick, larger_home, capsys)
