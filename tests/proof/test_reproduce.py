"""Trials run again from a finished run: the same bits, and whatever is not the same is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from home import content, one_error
from tiny import environment, run_inline, tiny_sweep

from harness.proof.reproduce import main
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    """A finished run whose backbone was trained in it first."""
    folder = tmp_path_factory.mktemp("reproduce")
    source = {"method": "full_finetune", "dataset": {"dataset": "digits", "classes": [0, 1]}, "train": {"epochs": 1}}
    file = tiny_sweep(
        folder,
        backbone={"name": "resnet20", "weights": source},
        methods=["lora_c"],
        train={"epochs": 2, "batch_size": 32, "image_size": 8},
        search={"trials": 1, "seeds": [0]},
    )
    run_inline(file, folder / "run", shared_cache, report=False)
    return folder / "run"


@pytest.fixture
def run(finished: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    for name, value in environment(shared_cache).items():
        monkeypatch.setenv(name, value)
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def confirmed(run: Path, seed: int) -> TrialFolder:
    study = RunDirectory(run).study("lora_c@small")
    chosen = study.chosen()
    assert chosen is not None
    return study.confirm_trial(chosen["configuration"], seed)


def rewrite(path: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_trials_come_out_bit_for_bit_and_the_run_is_left_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(run)
    kept = run.parent / "kept"

    assert main([str(run), "lora_c@small", "--keep", str(kept)]) == 0

    said = capsys.readouterr().out
    assert "2 of 2 trials identical, bit for bit" in said
    assert "code, data, settings and versions are as recorded" in said
    assert content(run) == before
    again = TrialFolder(kept / confirmed(run, 1001).name, "confirm")
    assert again.result()["metrics"] == confirmed(run, 1001).result()["metrics"]
    # A folder that holds something is never written into.
    one_error(main([str(run), "lora_c@small", "--keep", str(kept)]), capsys.readouterr().err, "--keep", "not empty")


def test_a_tampered_metric_and_a_tampered_prediction_are_found(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = confirmed(run, 1000), confirmed(run, 1001)
    value = first.result()["metrics"]["test"]["balanced_accuracy"]

    def raised(result: dict[str, Any]) -> dict[str, Any]:
        result["metrics"]["test"]["balanced_accuracy"] += 0.125
        return result

    rewrite(first.result_path, raised)
    frame = second.predictions()
    second.write_predictions(
        frame.with_columns(
            pl.when(pl.int_range(len(frame)) == 3).then(pl.col("logit_1") + 0.25).otherwise("logit_1").alias("logit_1")
        )
    )

    assert main([str(run), "lora_c@small"]) == 1
    said = capsys.readouterr().out
    assert "test metrics differ: balanced_accuracy; the largest difference is 0.125 (balanced_accuracy)" in said
    assert f"recorded {value + 0.125!r}, now {value!r}" in said
    assert f"the predictions differ in 1 of {len(frame)} cases, logits by up to 0.25" in said
    assert "0 of 2 trials identical" in said

    assert main([str(run), "lora_c@small:1000"]) == 1
    assert "seed 1001" not in capsys.readouterr().out


def test_what_changed_since_is_said_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def other_code(study: dict[str, Any]) -> dict[str, Any]:
        study["identity"]["method"]["code"] = "0" * 64
        study["identity"]["search"]["startup"] = 99
        return study

    def other_versions(recorded: dict[str, Any]) -> dict[str, Any]:
        recorded["packages"]["torch"] = "0.4.1"
        return recorded

    rewrite(run / "studies" / "lora_c@small" / "study.json", other_code)
    rewrite(run / "environment.json", other_versions)

    assert main([str(run), "lora_c@small", "--seed", "1001"]) == 0

    lines = capsys.readouterr().out.splitlines()
    changed = [line for line in lines if line.startswith("changed: ")]
    assert lines[: len(changed)] == changed and len(changed) == 2
    assert changed[0].startswith("changed: method.code: changed (00000000 → ")
    assert changed[1].startswith("changed: packages.torch: 0.4.1 → ")
    assert lines[-1] == "1 of 1 trials identical, bit for bit"


def test_what_cannot_be_repeated_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = confirmed(run, 1001)
    rewrite(failed.result_path, lambda result: {**result, "status": "failed", "cause": "oom"})

    def refused(*arguments: str) -> str:
        return one_error(main([str(run), *arguments]), capsys.readouterr().err)

    assert "did you mean 'lora_c'?" in refused("lora@small")
    assert "seed 7 is no confirm seed of it; done: 1000" in refused("lora_c@small:7")
    assert "seed 1001 is not done (oom); done: 1000" in refused("lora_c@small", "--seed", "1001")
    assert "CELL names seed 1000" in refused("lora_c@small:1000", "--seed", "1001")
    assert "known: cpu" in refused("lora_c@small", "--device", "abacus")
    shutil.rmtree(run / "sources")
    assert "the backbone that the run trained first is gone" in refused("lora_c@small")
