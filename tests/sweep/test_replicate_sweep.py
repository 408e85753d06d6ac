"""A sweep whose replicates draw their own splits and searches, from the first trial to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import run_inline, tiny_sweep

from analysis.trace import main as trace
from harness.doctor.__main__ import main as doctor
from harness.proof.reproduce import main as reproduce
from harness.run.directory import RunDirectory
from harness.status.__main__ import main as status

EVERYTHING: dict[str, Any] = {
    "confirm": {"seeds": 3, "vary": ["seed", "split", "search"], "control": "linear_probe", "repeat": True},
    "train": {"epochs": 1, "batch_size": 64, "image_size": 8},
    "search": {"trials": 2, "sampler": "random"},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> tuple[Path, Path]:
    """The sweep file and the run directory."""
    folder = tmp_path_factory.mktemp("varied")
    file = tiny_sweep(folder, **EVERYTHING)
    run_inline(file, folder / "run", shared_cache)
    return file, folder / "run"


def test_the_results_say_what_was_drawn_anew(finished: tuple[Path, Path]) -> None:
    results = json.loads((finished[1] / "report" / "results.json").read_text())
    assert {(one["splits"], one["searches"]) for one in results["studies"]} == {(3, 1)}
    compared = [one for one in results["comparison"]["comparisons"] if one["role"] == "primary"]
    assert [one["seeds"] for one in compared] == [[1000, 1001, 1002]]
    page = (finished[1] / "report" / "report.html").read_text()
    assert "given this training set" not in page


def test_every_command_knows_replicates(
    finished: tuple[Path, Path], shared_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(finished[1])
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(shared_cache))
    monkeypatch.setenv("GPAF_BENCH_DATA", str(shared_cache / "none"))
    assert status([run]) == 0 and "complete" in capsys.readouterr().out
    assert doctor([run]) == 0 and "healthy" in capsys.readouterr().out
    assert trace([run, "lora_c@small"]) == 0
    assert "lora_c@small/confirm" in (traced := capsys.readouterr().out) and "-s1001-k1/log.txt" in traced
    assert reproduce([run, "lora_c@small:1002"]) == 0
    assert "seed 1002: identical" in capsys.readouterr().out


def test_more_replicates_add_trials_and_leave_those_that_are_there(
    finished: tuple[Path, Path], shared_cache: Path
) -> None:
    file, path = finished
    study = RunDirectory(path).study("lora_c@small")
    before = {trial.name: trial.result_path.read_bytes() for trial in study.trials("confirm")}
    run_inline(file, path, shared_cache, "--set", "confirm.seeds=4")
    after = {trial.name: trial.result_path.read_bytes() for trial in study.trials("confirm")}
    assert before.items() <= after.items() and len(after) == len(before) + 1
    (added,) = after.keys() - before.keys()
    assert added.endswith("-s1003-k3")


def test_other_folds_make_a_study_stale(tmp_path: Path, shared_cache: Path) -> None:
    file = tiny_sweep(tmp_path, **{**EVERYTHING, "confirm": {"seeds": 2}, "split": {"folds": 2}})
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    done = run_inline(file, tmp_path / "run", shared_cache, "--set", "split.seed=1", expect=2)
    assert "stale" in done.stdout + done.stderr
