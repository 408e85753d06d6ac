"""Metrics that a sweep file names: computed, recorded, compared with intervals over seeds and cases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from tiny import run_inline, tiny_sweep

from analysis.imported.evidence import evidence_from_tables
from harness.core.errors import RequestError
from harness.method import Method
from harness.plugins import discover
from harness.run.directory import RunDirectory
from harness.search import find_sampler
from harness.studies.loading import check_against, load_sweep
from harness.studies.planner import further_metrics, settings_identity


@pytest.mark.slow
def test_a_sweep_that_asks_for_metrics(tmp_path: Path) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    changes = {
        "datasets": [{"small": {"dataset": "digits", "classes": [8, 9]}}],
        "methods": ["linear_probe", "bn_affine"],
        "train": {"epochs": 1, "batch_size": 32, "image_size": 8},
        "search": {"trials": 2, "seeds": [0], "metric": "macro_f2", "sampler": "random"},
        "confirm": {"seeds": 3},
    }
    file = tiny_sweep(tmp_path, metrics=["average_precision", "net_benefit_20", "auc"], **changes)
    run_inline(file, run, cache)
    asked = ["average_precision", "macro_f2", "net_benefit_20"]
    for study in RunDirectory(run).studies():
        description = study.description()
        assert [one["name"] for one in description["metrics"]] == asked
        assert description["identity"]["metrics"] == dict.fromkeys(asked, "built in")
        choice = study.chosen()
        assert choice is not None and choice["metric"] == "macro_f2"
        for trial in study.trials("confirm"):
            scores = trial.result()["metrics"]["test"]
            assert all(isinstance(scores[name], float) for name in asked)
            by_class = scores["average_precision_per_class"]
            assert isinstance(by_class, list) and len(by_class) == 2 and "macro_ppv" not in scores
    text = (run / "report" / "report.md").read_text(encoding="utf-8")
    assert "Macro F2 on the test split" in text and "Average precision" in text
    assert "A plugin defines" not in text
    document = json.loads((run / "report" / "results.json").read_text())
    assert "own_metrics" not in document
    found = {one["metric"]: one["interval"] for one in document["comparison"]["comparisons"]}
    assert found["macro_f2"] == found["average_precision"] == "two_way"
    assert "net_benefit_20" not in found

    # One more metric is one that the results lack.
    more = tiny_sweep(tmp_path, metrics=["average_precision", "net_benefit_20", "macro_ppv"], **changes)
    refused = run_inline(more, run, cache, expect=2)
    assert "metrics.macro_ppv" in refused.stdout + refused.stderr


def test_their_names_are_part_of_the_identity_and_those_of_every_trial_are_not(tmp_path: Path) -> None:
    catalogue = discover()

    def identity(**changes: Any) -> Mapping[str, Any]:
        spec = load_sweep(tiny_sweep(tmp_path, methods=["linear_probe"], **changes)).spec
        plugin, sampler = catalogue.find(Method, "linear_probe", "here"), find_sampler(spec.search, catalogue)
        return settings_identity(spec, spec.train, plugin, {}, sampler, further_metrics(catalogue, spec))

    plain = identity()
    assert "metrics" not in plain and identity(metrics=["auc", "ece"]) == plain
    asked = {"average_precision": "built in", "macro_f2": "built in"}
    assert identity(metrics=["macro_f2", "average_precision"]) == {**plain, "metrics": asked}
    searched = identity(search={"trials": 2, "seeds": [0], "metric": "macro_f2"})
    assert searched["metrics"] == {"macro_f2": "built in"}


def test_a_name_that_is_none_is_refused_at_its_place(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path, metrics=["auc", "macro_f3"])
    loaded = load_sweep(file)
    with pytest.raises(RequestError, match=r"tiny.yaml:\d+: metrics.1: no metric is called 'macro_f3'; did you mean"):
        check_against(loaded.spec, discover(), loaded.place)


def test_an_imported_table_that_names_one_gets_it_from_its_predictions(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(12) % 2
    rows = ["method,dataset,seed,case_id,label,logit_0,logit_1"]
    wanted: dict[tuple[str, int], float] = {}
    for method, seed in product(("ours", "theirs"), (0, 1)):
        score = rng.normal(size=12) + labels
        rows += [f"{method},d,{seed},c{case},{labels[case]},0,{score[case]:.17g}" for case in range(12)]
        both = [average_precision_score(labels == k, score if k else -score) for k in (0, 1)]
        wanted[method, seed] = float(np.mean(both))
    file = tmp_path / "predictions.csv"
    file.write_text("\n".join(rows))
    evidence = evidence_from_tables(None, file, metric="average_precision")
    plan = evidence.plan
    assert (plan.metric, plan.label(plan.metric)) == ("average_precision", "Average precision")
    found = {
        (method, seed): value
        for (_, method), cell in evidence.cells.items()
        for seed, value in cell.scores["average_precision"].items()
    }
    assert found == pytest.approx(wanted, abs=1e-12)
    assert "average_precision" not in evidence_from_tables(None, file).plan.metrics
