"""Ray's successive halving is rebuilt from the folders: a new driver's rungs hold what the dead one's held."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up_records
import numpy as np
import pytest

pytest.importorskip("ray", reason="the engine ray needs the extra of that name")

from ray.tune.schedulers import TrialScheduler

from benchmarks.overhead import planned
from harness.core.files import read_json
from harness.ray.halving import Halving
from harness.ray.trainable import SearchPlace, decision_file
from harness.work.state import StudyState

EPOCHS, SLOTS = 9, 12


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_rungs_come_back_from_the_curves(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, pruner: str
) -> None:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(shared_cache))
    search = {"engine": "ray", "pruner": pruner, "trials": SLOTS, "anchors": 0}
    document = {
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": [{"small": {"dataset": "digits", "classes": [7, 8, 9]}}],
        "methods": ["lora_c"],
        "train": {"epochs": EPOCHS, "image_size": 8},
        "search": search,
    }
    (study,) = planned(tmp_path / "run", document)
    place = SearchPlace(str(tmp_path), study.name, "", "", "", 1, 1, str(tmp_path / "leave"), False)
    live = Halving(StudyState(study), place)
    scores = np.random.default_rng(0).random((SLOTS, EPOCHS))
    trials = [SimpleNamespace(trial_id=f"id{n}", config={"member": {"slot": n}}) for n in range(SLOTS)]
    stopped: dict[int, int] = {}
    # Slots 0 to 8 run to their ends, epoch by epoch in turn; the last three are killed after their second epoch.
    for trial in trials:
        live.on_trial_add(None, trial)
    for epoch in range(1, EPOCHS + 1):
        for slot, trial in enumerate(trials):
            if slot in stopped or (slot >= 9 and epoch > 2):
                continue
            folder = study.folder.search_trial(slot, 0)
            folder.create()
            folder.write_curve(
                [{"epoch": e, "step": e, "val": {"balanced_accuracy": s}} for e, s in enumerate(scores[slot, :epoch])]
            )
            best = float(scores[slot, :epoch].max())
            if epoch == EPOCHS:
                finish(study, slot, {"status": "done", "metrics": {"val": {"balanced_accuracy": best}}})
                live.on_trial_complete(None, trial, {})
            elif live.on_trial_result(None, trial, {"epoch": epoch, "score": best}) == TrialScheduler.STOP:
                stopped[slot] = epoch
                decision = read_json(decision_file(place, slot))
                assert decision["prune"] and decision["epoch"] == epoch and decision["value"] == best
                finish(study, slot, {"status": "pruned", "metrics": {"val": {"balanced_accuracy": best}}})
                live.on_trial_complete(None, trial, {})
    assert stopped and set(stopped.values()) <= {1, 3}, "some are pruned, and only at a rung"

    rebuilt = Halving(StudyState(study), place)
    for slot in set(range(9, SLOTS)) - set(stopped):
        rebuilt.on_trial_add(None, trials[slot])
    assert rebuilt.rungs() == live.rungs() and sum(len(met) for b in live.rungs() for met in b.values()) > SLOTS
    fresh = SimpleNamespace(trial_id="new", config={"member": {"slot": SLOTS}})
    for scheduler in (live, rebuilt):
        scheduler.on_trial_add(None, fresh)
    verdicts = [s.on_trial_result(None, fresh, {"epoch": 3, "score": 0.01}) for s in (live, rebuilt)]
    assert verdicts == [TrialScheduler.STOP] * 2, "a new trial is judged by what the dead driver had seen"


def test_anchors_train_to_the_end(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(shared_cache))
    document = {
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": [{"small": {"dataset": "digits", "classes": [7, 8, 9]}}],
        "methods": ["lora_c"],
        "train": {"epochs": EPOCHS, "image_size": 8},
        "search": {"engine": "ray", "pruner": "asha", "trials": 6, "anchors": 4},
    }
    (study,) = planned(tmp_path / "run", document)
    place = SearchPlace(str(tmp_path), study.name, "", "", "", 1, 1, str(tmp_path / "leave"), False)
    scheduler = Halving(StudyState(study), place)
    for slot in range(6):
        trial = SimpleNamespace(trial_id=f"id{slot}", config={"member": {"slot": slot}})
        scheduler.on_trial_add(None, trial)
        told = scheduler.on_trial_result(None, trial, {"epoch": 1, "score": 1.0 - 0.1 * slot})
        # Nobody is finished, so nobody knows yet whether early ranks can be trusted.
        assert told == TrialScheduler.CONTINUE
        assert read_json(decision_file(place, slot))["prune"] is False


def finish(study: Any, slot: int, result: Mapping[str, Any]) -> None:
    folder = study.folder.search_trial(slot, 0)
    hyperparameters = study.engine().propose(slot, ())
    folder.write_request(made_up_records.request(slot=slot, hyperparameters=hyperparameters))
    folder.finish(made_up_records.result(slot=slot, hyperparameters=hyperparameters, **result))
