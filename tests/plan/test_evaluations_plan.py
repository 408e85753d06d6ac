"""What a plan says of evaluations, beside what the sweep then scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sites import sites_sweep
from tiny import environment, run_inline

from harness.plan import __main__ as command
from harness.plan.parts import Measured, Parts, Stops, evaluation_seconds, study_seconds
from harness.plan.shapes import Shape, StudyShape
from harness.run.directory import RunDirectory

EVALUATE: list[dict[str, Any]] = [
    {"corruptions": ["gaussian_noise", "zoom_blur"], "severities": [2, 4]},
    {"dataset": "other_digits", "classes": {"sieben": "seven"}, "options": {"first": 240, "images": 90}},
    {"subgroups": ["age_decade"], "least": 3},
]


@pytest.fixture(autouse=True)
def _own_folders(shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(shared_cache).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def planned(capsys: pytest.CaptureFixture[str], file: Path, *extra: str) -> dict[str, Any]:
    assert command.main([str(file), "--json", *extra]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_the_plan_counts_every_image_that_is_scored_and_prices_it(
    tmp_path: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sites_sweep(tmp_path, evaluate=EVALUATE, confirm={"seeds": 2, "keep": "chosen"})
    with_them = planned(capsys, file)
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    run = RunDirectory(tmp_path / "run")
    for study in with_them["studies"]:
        trials = run.study(study["name"]).trials("confirm")
        cases = {sum(one["cases"] for one in trial.result()["evaluations"]) for trial in trials}
        assert cases == {study["evaluated_images"]}
    assert any("smallest" in line for line in with_them["evaluations"])
    assert all(parts["making"] > 0 for one in with_them["measured"].values() for parts in one["parts"])
    sizes = [trial.trained_path.stat().st_size for study in run.studies() for trial in study.trials("confirm")]
    assert with_them["disk"]["kept"] == pytest.approx(sum(sizes), rel=0.2)
    like = planned(capsys, file, "--like", str(run.path))
    assert like["trials"] == with_them["trials"]
    assert all(parts["making"] > 0 for one in like["measured"].values() for parts in one["parts"])


def test_evaluations_are_priced_for_confirm_trials_alone() -> None:
    shape = Shape(train=640, val=100, test=50, epochs=10, steps=100, batch_size=64)
    parts = Parts(start=1.0, step=0.01, case=0.002, making=0.003)
    measured = Measured(parts=(parts,), origin="made up")
    plain = StudyShape("m@d", "m", "d", shape, 4, 4, 3, 1, waits=3)
    evaluated = StudyShape("m@d", "m", "d", shape, 4, 4, 3, 1, waits=3, evaluated=1000)
    more = evaluation_seconds(evaluated, measured)
    assert more.middle == pytest.approx(3 * 1000 * 0.005)
    difference = study_seconds(evaluated, measured, Stops()).middle - study_seconds(plain, measured, Stops()).middle
    assert difference == pytest.approx(more.middle)
