"""An evaluation from a user's folder: the guide's own, and one that sees what it must not see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny import ROOT, run_inline, tiny_sweep

from harness.run.directory import RunDirectory

GUIDE = (ROOT / "docs" / "writing-an-evaluation.md").read_text(encoding="utf-8")

SPY = '''
"""An evaluation that writes down who calls it."""

import os
from pathlib import Path

from harness.api import Evaluation, EvaluationSet


class Spy(Evaluation):
    """Writes a line whenever it is opened."""

    name = "spy"

    def images(self, facts):
        with Path(os.environ["SPY"]).open("a") as file:
            file.write("planned\\n")
        return len(facts.test)

    def sets(self, opened):
        with Path(os.environ["SPY"]).open("a") as file:
            file.write(f"opened {len(opened.test)}\\n")
        test = opened.test
        yield EvaluationSet("all", 0, "test", test.case_ids, test.groups, test.labels, test.batches)
'''

WRONG = {
    "its labels are too few": "test.labels[1:], test.batches",
    "images": "test.labels, lambda size: iter([test.pixels(0, 3)])",
}


def own(folder: Path, name: str, code: str, **changes: Any) -> Path:
    (folder / "mine").mkdir()
    (folder / "mine" / f"{name}.py").write_text(code)
    return tiny_sweep(folder, plugins=["mine"], evaluate=[name], **changes)


def test_the_guides_evaluation_scores_turned_images(tmp_path: Path, shared_cache: Path) -> None:
    for block in re.findall(r"^```(?:python|yaml)\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL):
        path = tmp_path / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block)
    run_inline(tmp_path / "turned.yaml", tmp_path / "run", shared_cache, report=False)
    for study in RunDirectory(tmp_path / "run").studies():
        for trial in study.trials("confirm"):
            frame = trial.evaluation("turned")
            assert set(frame["set"]) == {"turned_90", "turned_180"}
            assert [record["cases"] for record in trial.result()["evaluations"]] == [len(trial.predictions())] * 2


def test_it_is_opened_once_a_confirm_trial_and_never_in_a_search(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY", str(tmp_path / "spied"))
    file = own(tmp_path, "spy", SPY, search={"trials": 3, "seeds": [0]}, confirm={"seeds": 2, "repeat": True})
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    run = RunDirectory(tmp_path / "run")
    confirmed = [trial for study in run.studies() for trial in study.trials("confirm")]
    opened = [line for line in (tmp_path / "spied").read_text().splitlines() if line.startswith("opened")]
    assert len(confirmed) == 4 and len(opened) == 4
    logs = {trial: trial.log_path.read_text() for trial in run.trials()}
    with_it = {trial.path for trial, log in logs.items() if "evaluation opened" in log}
    assert with_it == {trial.path for trial in confirmed}
    for trial in confirmed:
        # The same images as the test split's, so the same logits, to the last bit.
        one, other = (frame.select(pl.col("^logit_.*$")) for frame in (trial.evaluation("spy"), trial.predictions()))
        assert np.array_equal(one.to_numpy(), other.to_numpy())


@pytest.mark.parametrize(("what", "arguments"), WRONG.items())
def test_a_set_that_does_not_fit_its_cases_is_said_to_be_wrong(
    tmp_path: Path, shared_cache: Path, what: str, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY", str(tmp_path / "spied"))
    code = SPY.replace("test.labels, test.batches", arguments)
    file = own(tmp_path, "spy", code, methods=["linear_probe"])
    done = run_inline(file, tmp_path / "run", shared_cache, report=False, expect=2)
    said = " ".join(done.stderr.split())
    assert "evaluation spy" in said and ("labels" in said or "images for" in said)
