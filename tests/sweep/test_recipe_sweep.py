"""A sweep by somebody else's recipe: what is planned is what is trained, and the run says how."""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from home import one_error
from tiny import ROOT, environment, run_inline, tiny_sweep

from harness.plan import __main__ as plan_command
from harness.run.directory import RunDirectory

SHIPPED = ROOT / "sweeps" / "medmnist_resnet18.yaml"

RECIPE: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 60,
    "image_size": 8,
    "optimizer": {"kind": "sgd", "nesterov": True},
    "schedule": {"kind": "step", "milestones": [1, 2], "factor": 0.2},
    "warmup": {"epochs": 0.5},
    "drop_last": False,
    "augment": False,
}


def test_what_is_planned_is_trained_and_told(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(shared_cache).items():
        monkeypatch.setenv(name, value)
    file = tiny_sweep(
        tmp_path,
        backbone={"name": "resnet18", "stem": "small", "weights": None},
        methods=[{"bn_affine": {"lr": 0.001}}, "metalr"],
        train=RECIPE,
        search={"trials": 1, "seeds": [0]},
        confirm={"seeds": 2},
    )
    assert plan_command.main([str(file), "--json", "--no-probe"]) == 0
    planned = json.loads(capsys.readouterr().out)
    run_inline(file, tmp_path / "run", shared_cache)
    run = RunDirectory(tmp_path / "run")
    trials = list(run.trials())
    assert planned["steps"] == sum(trial.result()["steps"] for trial in trials)
    assert len(run.split("small")["train"]) % 60 > 1
    for trial in trials:
        result = trial.result()
        assert result["status"] == "done", result
        assert result["hyperparameters"]["optimizer"] == "sgd"
    assert {study.description()["identity"]["backbone"]["name"] for study in run.studies()} == {"resnet18:small_stem"}
    for study in run.studies():
        assert study.description()["identity"]["train"]["optimizer"] == {
            "kind": "sgd", "momentum": 0.9, "nesterov": True
        }  # fmt: skip
    paper = (tmp_path / "run" / "report" / "paper.tex").read_text()
    report = html.unescape((tmp_path / "run" / "report" / "report.html").read_text())
    for said in (
        "the last one of an epoch being smaller",
        "rose over the first 0.5 epochs and then was multiplied by 0.2 after epochs 1 and 2",
        "The optimiser of all methods was SGD with Nesterov's momentum 0.9",
    ):
        assert said in paper and said in report
    assert "resnet18 with a 3 × 3 stem for small images" in report
    # The same command again finds nothing that has changed; another recipe is another study.
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    changed = run_inline(file, tmp_path / "run", shared_cache, "--set", "train.schedule=cosine", report=False, expect=2)
    assert "train.schedule" in changed.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {**RECIPE, "warmup": {"steps": 900}}}, "train.warmup: takes 900 steps, and a training on digits"),
        (
            {"backbone": {"name": "resnet18", "stem": "small", "weights": "IMAGENET1K_V1"}},
            "backbone.weights: those published for resnet18 have another first convolution than the small stem",
        ),
        (
            {"backbone": {"name": "resnet20", "stem": "small"}},
            "backbone.stem: a small one is defined for torchvision's ResNets",
        ),
        (
            {
                "backbone": {
                    "name": "resnet20",
                    "weights": {
                        "method": "full_finetune", "dataset": "digits",
                        "train": {"epochs": 2, "schedule": {"kind": "step", "milestones": [2]}},
                    },
                }
            },
            "backbone.weights.train.schedule.milestones.0: is not reached: the training has 2 epochs",
        ),
    ],
    ids=["warm-up", "published weights", "no ResNet of torchvision", "a backbone trained first"],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_a_line(
    tmp_path: Path, shared_cache: Path, changes: dict[str, Any], said: str
) -> None:
    done = run_inline(tiny_sweep(tmp_path, **changes), tmp_path / "run", shared_cache, expect=2)
    one_error(2, done.stderr, said)


def test_a_backbone_trained_first_has_its_own_recipe(tmp_path: Path, shared_cache: Path) -> None:
    source = {
        "method": "full_finetune",
        "dataset": {"dataset": "digits", "classes": [1, 2]},
        "train": {"epochs": 2, "optimizer": "adam", "schedule": "linear"},
    }
    file = tiny_sweep(
        tmp_path,
        backbone={"name": "resnet18", "stem": "small", "weights": source},
        methods=["linear_probe"],
        train={**RECIPE, "features": "each_step"},
        search={"trials": 1, "seeds": [0]},
        confirm={"seeds": 1},
    )
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    run = RunDirectory(tmp_path / "run")
    (first,) = run.sources()
    assert first.result()["hyperparameters"]["optimizer"] == "adam"
    assert {trial.result()["status"] for trial in run.trials()} == {"done"}


def test_the_shipped_recipe_is_the_one_that_its_page_shows() -> None:
    (shown,) = re.findall(r"^```yaml\n(name: .*?)^```$", (ROOT / "docs" / "recipes.md").read_text(), re.M | re.S)
    assert yaml.safe_load(shown) == yaml.safe_load(SHIPPED.read_text())


def test_the_shipped_recipe_has_the_published_number_of_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(os.environ.get("GPAF_BENCH_DATA") or ROOT.parent / "shared" / "data")
    if not (root / "breastmnist.npz").is_file():
        pytest.skip(f"breastmnist.npz is not in {root}")
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(tmp_path))
    assert plan_command.main([str(SHIPPED), "--json", "--no-probe", "--data-root", str(root)]) == 0
    planned = json.loads(capsys.readouterr().out)
    # 546 images in batches of 128 are four whole ones and a smaller one.
    assert (planned["trials"], planned["steps"]) == (11, 11 * 100 * 5)
