"""What every sampler and engine keeps, shown by sweeps; a class of tests that those of each inherit.

Its own tests: ``class TestMine(EngineConformance): search = {"sampler": "mine", "trials": 4}``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tiny import run_inline, run_sweep, tiny_sweep

from harness.plugins import discover
from harness.proof.replay import Replayed, replay
from harness.run.directory import RunDirectory
from harness.run.study_folder import StudyFolder
from harness.search import is_driven
from harness.space.conditions import check_configuration
from harness.space.parameters import defaults, from_json
from harness.spec.search import SearchSpec


class EngineConformance:
    """Inherit it, and say how the sweep is searched."""

    search: ClassVar[dict[str, Any]]
    launcher: ClassVar[str] = "inline"
    plugin: ClassVar[str | None] = None
    """The text of a user's file, where that defines it."""
    hyperparameters: ClassVar[dict[str, Any]] = {"head_lr": {"log": [0.01, 1.0], "default": 0.1}, "weight_decay": 0.0}

    @classmethod
    def sweep(cls, folder: Path, cache: Path, run: Path) -> StudyFolder:
        """Run the sweep, or go on with it; returns its only study."""
        file = tiny_sweep(
            folder,
            plugins=[str(one) for one in cls.plugins(folder)],
            methods=[{"linear_probe": cls.hyperparameters}],
            train={"epochs": 1, "batch_size": 64, "image_size": 8},
            search={"startup": 2, "concurrency": 2, **cls.search},
            confirm={"seeds": 1},
            launch={"workers": 1, "threads": 1, "kind": cls.launcher},
        )
        (run_inline if cls.launcher == "inline" else run_sweep)(file, run, cache)
        (study,) = RunDirectory(run).studies()
        return study

    @classmethod
    def plugins(cls, folder: Path) -> list[Path]:
        """The user's folder of plugins, written into a folder."""
        if cls.plugin is None:
            return []
        (folder / "mine").mkdir(exist_ok=True)
        (folder / "mine" / "plugin.py").write_text(cls.plugin)
        return [folder / "mine"]

    @pytest.fixture(scope="class")
    @classmethod
    def finished(cls, tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
        """The run directory of a finished sweep; copy it before changing anything."""
        folder = tmp_path_factory.mktemp("engine")
        cls.sweep(folder, shared_cache, folder / "run")
        return folder / "run"

    def test_the_folders_hold_the_search(self, finished: Path) -> None:
        (study,) = RunDirectory(finished).studies()
        description = study.description()
        space, slots = from_json(description["space"]), description["search_slots"]
        trials = {trial.request()["slot"]: trial for trial in study.trials("search")}
        assert sorted(trials) == list(range(slots)) and len(study.trials("search")) == slots
        assert trials[0].request()["hyperparameters"] == defaults(space)
        for slot, trial in trials.items():
            request = trial.request()
            check_configuration(space, request["hyperparameters"])
            assert trial.result()["status"] == "done" and "test" not in trial.result()["metrics"]
            assert set(request["conditioned_on"]) <= set(range(slots)) - {slot}
        assert len({repr(trial.request()["hyperparameters"]) for trial in trials.values()}) > 1
        chosen = study.chosen()
        best = max(trial.result()["metrics"]["val"]["balanced_accuracy"] for trial in trials.values())
        assert chosen is not None and chosen["value"] == best
        assert all(t.request()["hyperparameters"] == chosen["hyperparameters"] for t in study.trials("confirm"))

    def test_its_asks_can_be_replayed(self, finished: Path, tmp_path: Path) -> None:
        if is_driven(SearchSpec.model_validate(self.search)):
            pytest.skip("a driver's asks depend on time; what they were conditioned on is in trial.json")
        (study,) = RunDirectory(finished).studies()
        assert replay(study, discover(self.plugins(tmp_path))) == Replayed(asks=study.description()["search_slots"])

    def test_a_search_goes_on_from_its_folders(self, finished: Path, tmp_path: Path, shared_cache: Path) -> None:
        run = tmp_path / "run"
        shutil.copytree(finished, run)
        (study,) = RunDirectory(run).studies()
        last = study.description()["search_slots"] - 1
        begun, never = study.search_trial(last - 1, 0), study.search_trial(last, 0)
        wanted = begun.request()
        begun.result_path.unlink()
        shutil.rmtree(never.path)
        shutil.rmtree(study.path / "confirm")
        kept = {path: path.read_bytes() for path in study.path.glob("search/*/result.json")}
        self.sweep(tmp_path, shared_cache, run)
        assert all(path.read_bytes() == content for path, content in kept.items())
        assert begun.request() == wanted and begun.result()["hyperparameters"] == wanted["hyperparameters"]
        assert never.finished and len(study.trials("search")) == last + 1 and len(study.trials("confirm")) == 1
