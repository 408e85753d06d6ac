"""A sweep over training sizes and networks, from the first trial to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import ROOT, run_inline, tiny_sweep

from analysis.trace import main as trace
from harness.doctor.__main__ import main as doctor
from harness.proof.replay import main as replay
from harness.proof.reproduce import main as reproduce
from harness.run.directory import RunDirectory
from harness.status.__main__ import main as status

TRAIN: dict[str, Any] = {"epochs": 1, "batch_size": 8, "image_size": 8}
LABELS = ["small.n5.resnet20", "small.n5.resnet18", "small.all.resnet20", "small.all.resnet18"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    """The run directory."""
    folder = tmp_path_factory.mktemp("tasks")
    file = tiny_sweep(
        folder,
        backbones=[{"name": "resnet20"}, {"name": "resnet18"}],
        backbone={"name": "resnet20"},
        methods=["linear_probe", "bitfit"],
        train={**TRAIN, "per_class": [5, "all"]},
        confirm={"seeds": 2, "control": "linear_probe"},
    )
    run_inline(file, folder / "run", shared_cache)
    return folder / "run"


def confirmed(run: Path, study: str, seed: int) -> dict[str, Any]:
    (found,) = (run / "studies" / study / "confirm").glob(f"*-s{seed}*/result.json")
    result: dict[str, Any] = json.loads(found.read_text())
    return result


def test_each_task_is_searched_confirmed_and_compared(finished: Path) -> None:
    names = sorted(study.name for study in RunDirectory(finished).studies())
    assert names == sorted(f"{method}@{label}" for method in ("linear_probe", "bitfit") for label in LABELS)
    results = json.loads((finished / "report" / "results.json").read_text())
    compared = [one["dataset"] for one in results["comparison"]["comparisons"] if one["role"] == "primary"]
    assert compared == LABELS
    conditions = {name: RunDirectory(finished).study(name).description()["task"] for name in names}
    assert conditions["bitfit@small.n5.resnet18"] == {
        "dataset": "small",
        "domain": None,
        "per_class": 5,
        "fraction": None,
        "backbone": "resnet18",
    }


def test_the_report_follows_scores_over_sizes_and_networks(finished: Path, tuned_at_the_largest: Path) -> None:
    found = json.loads((finished / "report" / "results.json").read_text())["comparison"]
    curves = {one["dataset"]: one for one in found["learning_curves"]}
    assert list(curves) == ["small (resnet20)", "small (resnet18)"]
    for one in curves.values():
        assert one["images"][0] == 15 and len(one["images"]) == 2
        assert {(point["method"], point["images"]) for point in one["points"]} == {
            (method, images) for method in ("linear_probe", "bitfit") for images in one["images"]
        }
        assert [(area["a"], area["b"]) for area in one["differences"]] == [("bitfit", "linear_probe")]
    assert [(one["dataset"], sorted(one["outcomes"])) for one in found["on_networks"]] == [
        ("small (5 per class)", ["resnet18", "resnet20"]),
        ("small (all images)", ["resnet18", "resnet20"]),
    ]
    assert "held_out_domains" not in found
    # Replicates that draw splits have the same test cases at every size of the split.
    varied = json.loads((tuned_at_the_largest / "report" / "results.json").read_text())["comparison"]
    assert [len(one["points"]) for one in varied["learning_curves"]] == [4]
    assert [len(one["areas"]) for one in varied["learning_curves"]] == [2]
    page = (finished / "report" / "report.html").read_text()
    assert "Training sizes</h2>" in page and "Networks</h2>" in page
    assert "areas_" in str(sorted((finished / "report" / "tables").iterdir()))


def test_smaller_sizes_are_parts_of_larger_ones_and_are_tested_on_the_same_images(finished: Path) -> None:
    sides = {label: json.loads((finished / "splits" / f"{label}.json").read_text()) for label in LABELS}
    small, whole = sides["small.n5.resnet20"], sides["small.all.resnet20"]
    assert len(small["train"]) == 15 and set(small["train"]) < set(whole["train"])
    assert small["test"] == whole["test"] and small["val"] == whole["val"]
    assert sides["small.n5.resnet18"] == small


def test_a_trial_of_a_task_is_the_one_of_a_sweep_of_that_size_and_network(
    finished: Path, tmp_path: Path, shared_cache: Path
) -> None:
    file = tiny_sweep(
        tmp_path, methods=["linear_probe"], train={**TRAIN, "per_class": 5}, search={"trials": 1, "seeds": [0]}
    )
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    place = Path("search", "0000-s0", "result.json")
    one, other = (
        json.loads((run / "studies" / f"linear_probe@{label}" / place).read_text())
        for run, label in ((finished, "small.n5.resnet20"), (tmp_path / "run", "small"))
    )
    assert one["identity"] == other["identity"]
    assert one["metrics"] == other["metrics"]


def test_every_command_knows_tasks(
    finished: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(shared_cache))
    monkeypatch.setenv("GPAF_BENCH_DATA", str(shared_cache / "none"))
    run = str(finished)
    assert status([run]) == 0 and "complete" in capsys.readouterr().out
    assert doctor([run]) == 0 and "healthy" in capsys.readouterr().out
    assert trace([run, "bitfit@small.n5.resnet18"]) == 0
    assert "bitfit@small.n5.resnet18/confirm" in capsys.readouterr().out
    assert reproduce([run, "bitfit@small.n5.resnet18:1001"]) == 0
    assert "seed 1001: identical" in capsys.readouterr().out


def test_tasks_of_one_dataset_count_once(finished: Path) -> None:
    page = (finished / "report" / "report.html").read_text()
    assert "tasks of 1 dataset" in page


@pytest.fixture(scope="module")
def tuned_at_the_largest(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    """The run directory of a sweep whose smaller sizes take what the largest chose."""
    folder = tmp_path_factory.mktemp("largest")
    file = tiny_sweep(
        folder,
        methods=["linear_probe", "bitfit"],
        train={**TRAIN, "per_class": [5, "all"]},
        search={"trials": 3, "seeds": [0], "sizes": "largest", "choose": "top_k", "top": 2},
        confirm={"seeds": 3, "control": "linear_probe", "vary": ["seed", "split", "search"], "repeat": True},
    )
    run_inline(file, folder / "run", shared_cache)
    return folder / "run"


def test_smaller_sizes_take_the_choices_of_the_largest(tuned_at_the_largest: Path) -> None:
    for method in ("linear_probe", "bitfit"):
        largest, small = (
            RunDirectory(tuned_at_the_largest).study(f"{method}@{label}") for label in ("small.all", "small.n5")
        )
        assert not small.trials("search") and len(largest.trials("search")) == 3
        chosen, taken = largest.chosen(), small.chosen()
        assert chosen is not None and taken is not None
        assert taken["leader"] == largest.name
        assert taken["replicates"] == chosen["replicates"] and taken["configuration"] == chosen["configuration"]
        trained = {trial.request()["seed"]: trial.request()["hyperparameters"] for trial in small.trials("confirm")}
        assert trained == {int(seed): one["hyperparameters"] for seed, one in chosen["replicates"].items()}


def test_the_report_and_every_command_say_where_choices_come_from(
    tuned_at_the_largest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tuned_at_the_largest)
    page = (tuned_at_the_largest / "report" / "report.html").read_text()
    assert "search trials for each method on small.all" in page
    assert "On small.n5 each method has the configurations that its search on small.all gave." in page
    assert "not the same for all" not in page
    assert status([run]) == 0 and "complete" in capsys.readouterr().out
    assert doctor([run]) == 0 and "healthy" in capsys.readouterr().out
    assert trace([run, "bitfit@small.n5"]) == 0
    assert "of 3 of bitfit@small.all" in capsys.readouterr().out
    assert replay([run]) == 0


def test_smaller_sizes_wait_for_nothing_where_the_search_of_the_largest_fails(
    tmp_path: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "mine" / "breaks.py"
    plugin.parent.mkdir()
    source = (ROOT / "methods" / "bitfit.py").read_text().replace('"bitfit"', '"breaks"')
    plugin.write_text(source.replace("biases.weight_decay = 0.0", "raise ArithmeticError"))
    file = tiny_sweep(
        tmp_path,
        plugins=[str(plugin.parent)],
        methods=["linear_probe", "breaks"],
        train={**TRAIN, "per_class": [5, "all"]},
        search={"trials": 1, "seeds": [0], "sizes": "largest"},
        confirm={"seeds": 1},
    )
    run_inline(file, tmp_path / "run", shared_cache, expect=1)
    assert status([str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "complete" in said and "blocked: breaks@small.n5: breaks@small.all has chosen nothing" in said


def test_who_is_searched_cannot_change_within_a_run(tmp_path: Path, shared_cache: Path) -> None:
    each = tiny_sweep(
        tmp_path,
        methods=["bitfit"],
        train={**TRAIN, "per_class": [5, "all"]},
        search={"trials": 1, "seeds": [0]},
        confirm={"seeds": 1},
    )
    run_inline(each, tmp_path / "run", shared_cache, report=False)
    done = run_inline(each, tmp_path / "run", shared_cache, "--set", "search.sizes=largest", expect=2)
    assert "search.sizes: bitfit@small.n5 was given 1 slots of its own before" in done.stderr
