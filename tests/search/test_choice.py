"""The best slots are trained once more before one is chosen: planned, counted, resumed, and never on test images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import run_inline, tiny_sweep

from analysis.runs.summary import summarise
from analysis.runs.trials_of import panels
from analysis.tables.choices import choices
from harness.plan.shapes import study_shapes
from harness.plugins import discover
from harness.proof.comparison import run_differences
from harness.proof.replay import Replayed, replay
from harness.run.directory import RunDirectory
from harness.search import Asked, best_slots, choose
from harness.spec.search import SearchSpec
from harness.studies.loading import load_sweep
from harness.studies.planner import Planner
from harness.studies.reading import RunReader
from harness.studies.study import Roots

METRIC = "balanced_accuracy"


def test_the_best_of_the_top_after_one_more_seed(tmp_path: Path, shared_cache: Path) -> None:
    file = tiny_sweep(
        tmp_path,
        methods=[
            {
                "linear_probe": {
                    "head_lr": {"log": [0.001, 1.0], "default": 0.1},
                    "optimizer": {"choice": ["adamw", "sgd"]},
                    "weight_decay": {"uniform": [0.0, 0.1], "when": {"optimizer": "sgd"}, "default": 0.01},
                }
            }
        ],
        train={"epochs": 1, "batch_size": 64, "image_size": 8},
        search={"trials": 5, "sampler": "random", "choose": "top_k", "top": 3},
        confirm={"seeds": 2},
    )
    run = RunDirectory(tmp_path / "run")
    run_inline(file, run.path, shared_cache, report=False)
    (study,) = run.studies()

    scores = {slot: _score(study.search_trial(slot, 0)) for slot in range(5)}
    top = sorted(scores, key=lambda slot: (-scores[slot], slot))[:3]
    assert [trial.name for trial in study.reevaluations()] == sorted(f"{slot:04d}-s1" for slot in top)
    means = {slot: (scores[slot] + _score(study.reevaluation(slot, 1))) / 2 for slot in top}
    chosen = study.chosen()
    assert chosen is not None and chosen["expected"] == pytest.approx(max(means.values()))
    assert means[chosen["slot"]] == max(means.values()) and chosen["value"] == scores[chosen["slot"]]
    for trial in study.reevaluations():
        assert (
            trial.request()["hyperparameters"]
            == study.search_trial(trial.request()["slot"], 0).request()["hyperparameters"]
        )
        assert "test" not in trial.result()["metrics"] and not trial.predictions_path.exists()
        assert trial.request()["conditioned_on"] == [0, 1, 2, 3, 4]

    assert replay(study) == Replayed(asks=5)
    decays = {
        (values["optimizer"], values["weight_decay"] == 0.01)
        for trial in study.trials("search")
        if (values := trial.request()["hyperparameters"])
    }
    assert decays == {("adamw", True), ("sgd", False)}, "what counts for sgd alone has its default with adamw"

    # It is planned and counted: in the plan, in the status, in the ledger of the report.
    planner = Planner(load_sweep(file).spec, discover(), run, Roots(shared_cache, shared_cache))
    (shape,) = study_shapes(planner.studies())
    trials = list(run.trials())
    assert shape.reevaluations == 3 and shape.trials == len(trials) == 5 + 3 + 2
    (overview,) = RunReader(run).read(0.0).studies
    assert overview.complete and overview.total == overview.done == overview.ledger.trials == len(trials)
    summary = summarise(run)
    assert summary.complete and summary.ledger[0].trials == len(trials) and summary.ledger[0].seconds["again"] > 0

    # Each rule stands in the report with what it takes, and the one that has chosen with its fresh seeds.
    table = choices(summary)
    assert table is not None
    rows = {row[1]: row for row in table.groups[0][1]}
    assert rows["best score"][2] == str(top[0]) and rows["best score"][4] != "n/a"
    used = rows["best of the top after re-evaluation*"]
    assert used[2] == str(chosen["slot"]) and "n/a" not in used[6:] and len(rows) == 3

    (told,) = (fact for name, fact in panels(run)[study.name]["facts"] if name == "Chosen")
    assert f"chosen by top_k, which expects {chosen['expected']:.4f}" in told

    # Interrupted between two of these trainings, it ends alike; without them it waits.
    again = RunDirectory(tmp_path / "again")
    shutil.copytree(run.path, again.path)
    (copy,) = again.studies()
    shutil.rmtree(copy.path / "confirm")
    copy.chosen_path.unlink()
    copy.reevaluation(top[1], 1).result_path.unlink()
    (overview,) = RunReader(again).read(0.0).studies
    assert not overview.complete and overview.total == len(trials) and overview.left == 3
    run_inline(file, again.path, shared_cache, report=False)
    assert run_differences(run, again) == []

    # Chosen by another rule, the search stays, and its trials on a further seed only cost.
    run_inline(file, again.path, shared_cache, "--set", "search.choose=best", report=False)
    other = copy.chosen()
    assert other is not None and other["slot"] == top[0] and "expected" not in other
    (overview,) = RunReader(again).read(0.0).studies
    assert overview.complete and overview.total == 5 + 2 and overview.ledger.trials >= len(trials)


def test_a_slot_whose_further_training_failed_is_not_taken() -> None:
    search = SearchSpec(choose="top_k", top=2)
    history = [Asked(slot, {}, float(score)) for slot, score in enumerate(np.array([0.5, 0.9, 0.8, 0.8]))]
    assert [entry.slot for entry in best_slots(history, 3)] == [1, 2, 3]
    chosen = choose(history, {}, search, {1: None, 2: 0.6})
    assert chosen is not None and chosen.slot.slot == 2 and chosen.expected == pytest.approx(0.7)
    nothing = choose(history, {}, search, {1: None, 2: None})
    assert nothing is not None and nothing.slot.slot == 1 and nothing.expected is None


def _score(trial: object) -> float:
    return float(trial.result()["metrics"]["val"][METRIC])  # type: ignore[attr-defined]
