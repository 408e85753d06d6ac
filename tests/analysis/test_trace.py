"""From a number to its trials."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import made_up_records
import pytest

from analysis.runs.trials_of import panels, trials_of
from analysis.trace import main
from harness.pages.contents import ranges

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder

ROOT = Path(__file__).parents[2]


def test_a_number_leads_to_its_trials_choice_commit_and_logs(
    unfinished: RunBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(unfinished.run.path), "bn_affine@alpha"]) == 0

    said = capsys.readouterr().out
    assert said.splitlines()[0] == (
        "bn_affine on alpha: test balanced accuracy 0.8196, mean of 5 seeds, SD 0.0101, 95% t interval over seeds "
        "[0.8070, 0.8322] (retraining on this data, scored on this test set)"
    )
    for words in ("slot 1 of 3, validation balanced accuracy 0.8400", "Commit: 0123abc", "cpu, 1 thread"):
        assert words in said
    # Another configuration was confirmed beside; its trial is not behind this number.
    assert "beef" not in said
    assert said.count("studies/bn_affine@alpha/confirm/c0ffee-s100") == 5


def test_failed_and_missing_trials_are_shown_with_their_cause(
    unfinished: RunBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(unfinished.run.path), "gpaf@alpha", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (cell,) = found["cells"]
    done = [trial["score"] for trial in cell["trials"] if trial["status"] == "done"]
    assert found["score"]["n"] == len(done) == 4
    assert found["score"]["mean"] == pytest.approx(fmean(done))
    last = cell["trials"][-1]
    assert (last["seed"], last["status"], last["cause"], last["attempts"]) == (1004, "failed", "oom", 2)
    assert last["score"] is None and last["message"].startswith("CUDA out of memory")

    assert main([str(unfinished.run.path), "lora_c@alpha"]) == 0
    assert "no trial is done yet" in capsys.readouterr().out
    unfinished.begin(unfinished.run.study("gpaf@beta").confirm_trial("c0ffee", 1005), None, 1005)
    study = unfinished.run.study("gpaf@beta")
    study.describe({**study.description(), "confirm_seeds": [1004, 1005, 1006]})
    assert [trial["status"] for trial in trials_of(unfinished.run, "gpaf", "beta")] == ["done", "unfinished", "absent"]


def test_a_difference_is_paired_by_seed(unfinished: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(unfinished.run.path), "gpaf,bn_affine@alpha", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = [{trial["seed"]: trial["score"] for trial in cell["trials"]} for cell in found["cells"]]
    expected = {str(seed): scores[0][seed] - scores[1][seed] for seed in (1000, 1001, 1002, 1003)}
    assert found["differences"] == expected
    assert found["score"]["mean"] == pytest.approx(fmean(expected.values()))
    assert main([str(unfinished.run.path), "bn_affine,gpaf@alpha"]) == 0
    assert f"{-fmean(expected.values()):.4f}".replace("-", "−") in capsys.readouterr().out.splitlines()[0]


def test_one_trial_alone(unfinished: RunBuilder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(unfinished.run.path), "bn_affine@alpha:1003"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("bn_affine on alpha: test balanced accuracy 0.8340 (one trial, seed 1003)\n")
    assert "c0ffee-s1000" not in said


def test_an_undefined_score_leaves_no_mean(
    builder: Callable[..., RunBuilder], capsys: pytest.CaptureFixture[str]
) -> None:
    made = builder(["probe"], ["alpha"])
    study = made.study("probe", "alpha", seeds=(1000, 1001))
    search = study.search_trial(2, 0)
    search.create()
    search.write_request(made_up_records.request(slot=2, conditioned_on=[0, 1]))
    made.choose(study, 2, 0.5)
    made.confirmed(study, {1000: 0.5, 1001: float("nan")})
    assert main([str(made.run.path), "probe@alpha"]) == 0
    said = capsys.readouterr().out
    assert "no mean of the test balanced accuracy: undefined in 1 trials" in said
    assert "slot 2 of 3, validation balanced accuracy 0.5000, asked for knowing slots 0–1" in said


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("gpf@alpha", "did you mean 'gpaf'?"),
        ("gpaf@alfa", "did you mean 'alpha'?"),
        ("gpaf,metarl@beta", "did you mean 'metalr'?"),
        ("gpaf", "METHOD@DATASET"),
        ("gpaf@alpha:first", "METHOD@DATASET:SEED"),
        ("gpaf,gpaf@alpha", "FIRST,SECOND@DATASET"),
        ("gpaf,bn_affine@alpha:1000", "no seed"),
        ("a,b,c@alpha", "not of the form"),
        ("metalr@alpha", "has not begun"),
        ("gpaf@alpha:7", "it has 1000–1004"),
    ],
)
def test_a_wrong_cell_is_one_line_and_code_2(
    unfinished: RunBuilder, capsys: pytest.CaptureFixture[str], cell: str, words: str
) -> None:
    assert main([str(unfinished.run.path), cell]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert cell in line and words in line


def test_the_page_gets_every_cell_with_a_choice(unfinished: RunBuilder) -> None:
    found = panels(unfinished.run)
    assert sorted(found) == [
        "bn_affine@alpha", "bn_affine@beta", "gpaf@alpha", "gpaf@beta", "lora_c@beta", "metalr@beta",
    ]  # fmt: skip
    panel = found["gpaf@alpha"]
    assert {len(row) for row in panel["rows"]} == {len(panel["head"])} == {len(panel["align"])}
    assert [row[2] for row in panel["rows"]] == ["done"] * 4 + ["failed: oom"]
    assert panel["facts"][0] == ["Configuration", "c0ffee: lr 0.002, optimizer adamw, rank 8"]
    assert panel["commands"][1] == "python -m analysis.reproduce RUN gpaf@alpha"
    assert ranges([3, 0, 1, 7]) == "0–1, 3, 7"


def test_help_and_trace_load_nothing_that_trains(unfinished: RunBuilder) -> None:
    program = (
        "import sys; from analysis import reproduce, trace; light = sorted(sys.modules); "
        f"trace.main([{str(unfinished.run.path)!r}, 'gpaf@alpha']); print('###', *light, '###', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    _, imported, traced = done.stdout.split("###")
    assert not {"torch", "polars", "numpy", "scipy", "rich", "matplotlib", "psutil"} & set(imported.split())
    assert not {"torch", "polars", "matplotlib", "optuna", "scipy.stats"} & set(traced.split())
