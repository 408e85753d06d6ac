"""Sensitivity at a stated specificity and the reverse: the threshold comes from validation cases and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve
from tiny import environment, run_inline, tiny_sweep

from analysis.imported.evidence import evidence_from_tables
from harness.core.errors import RequestError
from harness.evaluate.__main__ import main as late
from harness.metrics.cases import ScoredCases
from harness.metrics.fitted import FittedMetric
from harness.metrics.table import built_in, evaluate, fit_on_validation, known_by_case
from harness.predict.models import KeptModel, find_kept, open_models
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.train.evaluate import predict

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SENSITIVITY, SPECIFICITY = "sensitivity_at_specificity_90", "specificity_at_sensitivity_90"
EVERY = tuple(f"{one}_{percent}" for one in (SENSITIVITY[:-3], SPECIFICITY[:-3]) for percent in (90, 95))


def fitted_metric(name: str) -> FittedMetric:
    metric = built_in()[name]
    assert isinstance(metric, FittedMetric)
    return metric


def two(score: Floats | list[float]) -> Floats:
    """Logits whose difference is the score."""
    given_ = np.asarray(score, dtype=np.float64)
    return np.stack([np.zeros_like(given_), given_], axis=1)


def value_of(name: str, validation: tuple[Floats, Ints], test: tuple[Floats, Ints]) -> float | None:
    metric = fitted_metric(name)
    found: Any = evaluate(*test, further=[metric], fitted=fit_on_validation(*validation, [metric]))
    value: float | None = found[name]
    return value


def test_by_hand() -> None:
    # Of ten negative validation cases nine are below 0.9: the tenth, of 0.9, and all above it are called.
    validation = two([*np.arange(10) / 10, 0.85, 0.85, 2.0, -1.0]), np.array([0] * 10 + [1] * 4)
    test = two([0.81, 0.79, 0.8, 3.0, 5.0]), np.array([1, 1, 1, 1, 0])
    assert value_of(SENSITIVITY, validation, test) == 0.5
    assert value_of("sensitivity_at_specificity_95", validation, test) == 0.25
    # Of ten positive cases nine are at 0.1 or above.
    validation = two([*np.arange(10) / 10, 0.5, -3.0]), np.array([1] * 10 + [0] * 2)
    test = two([0.1, 0.09, -4.0, 2.0, 1.0]), np.array([0, 0, 0, 0, 1])
    assert value_of(SPECIFICITY, validation, test) == 0.5
    assert value_of("specificity_at_sensitivity_95", validation, test) == 0.25


@pytest.mark.parametrize("name", EVERY)
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.booleans())
def test_on_validation_it_is_the_best_point_of_the_roc_curve_that_keeps_the_promise(
    name: str, seed: int, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    labels = rng.integers(0, 2, n)
    labels[:2] = 0, 1
    score = rng.normal(size=n) + labels
    if ties:
        score = np.round(score)
    validation = two(score), labels
    false_alarms, found, _ = roc_curve(labels, score, drop_intermediate=False)
    kept, other = (1 - false_alarms, found) if name.startswith("sens") else (found, 1 - false_alarms)
    promise = int(name[-2:]) / 100
    value = value_of(name, validation, validation)
    assert value == pytest.approx(other[kept >= promise - 1e-12].max(), abs=1e-12)
    # The promise itself is kept.
    metric = fitted_metric(name)
    (number,) = fit_on_validation(*validation, [metric])[name]
    assert number is not None
    called = score >= number
    own = ~called[labels == 0] if name.startswith("sens") else called[labels == 1]
    assert own.mean() >= promise - 1e-12


@pytest.mark.parametrize("name", EVERY)
def test_no_other_cases_may_decide_the_threshold(name: str) -> None:
    test = two([0.1, 0.9, 0.4, 0.6]), np.array([0, 1, 0, 1])
    metric = fitted_metric(name)
    with pytest.raises(ValueError, match="needs what the validation cases of its training decided"):
        evaluate(*test, further=[metric])
    with pytest.raises(ValueError, match="no other cases may decide it"):
        metric.value(ScoredCases(*test))
    with pytest.raises(ValueError, match="0 numbers for 1 question"):
        evaluate(*test, further=[metric], fitted={name: []})
    # The report has no way to it either.
    assert name not in known_by_case() and not metric.facts().by_case
    # Worse validation cases, another value on the same test cases.
    good = two([-9.0, 9.0, -8.0, 8.0]), np.array([0, 1, 0, 1])
    bad = two([9.0, -9.0, 8.0, -8.0]), np.array([0, 1, 0, 1])
    assert value_of(name, bad, test) == 0.0 < (value_of(name, good, test) or 0.0)


def test_what_leaves_it_undefined() -> None:
    both = two([0.0, 1.0]), np.array([0, 1])
    positive, negative = ((two([0.0, 1.0]), np.full(2, label)) for label in (1, 0))
    three = np.eye(3), np.arange(3)
    assert value_of(SENSITIVITY, positive, both) is None and value_of(SENSITIVITY, both, negative) is None
    assert value_of(SPECIFICITY, negative, both) is None and value_of(SPECIFICITY, both, positive) is None
    for name in EVERY:
        assert value_of(name, three, three) is None
        assert fit_on_validation(*three, [fitted_metric(name)]) == {name: []}
    assert fit_on_validation(*both, [built_in()["macro_f2"]]) == {}


def test_with_several_labels_each_has_a_threshold_of_its_own() -> None:
    rng = np.random.default_rng(5)
    logits, labels = rng.normal(size=(2, 60, 3)) * 3, rng.integers(0, 2, (2, 60, 3))
    for name in EVERY:
        alone = [
            value_of(name, (two(logits[0, :, k]), labels[0, :, k]), (two(logits[1, :, k]), labels[1, :, k]))
            for k in range(3)
        ]
        assert None not in alone
        whole = value_of(name, (logits[0], labels[0]), (logits[1], labels[1]))
        assert whole == pytest.approx(np.mean(alone))  # type: ignore[arg-type]
        assert len(fit_on_validation(logits[0], labels[0], [fitted_metric(name)])[name]) == 3


@pytest.mark.slow
def test_a_sweep_goes_by_validation_and_applies_its_thresholds_to_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    for name, value in environment(cache).items():
        monkeypatch.setenv(name, value)
    file = tiny_sweep(
        tmp_path,
        datasets=[{"small": {"dataset": "digits", "classes": [8, 9]}}],
        methods=["linear_probe", "bn_affine"],
        metrics=[SPECIFICITY],
        train={"epochs": 1, "batch_size": 32, "image_size": 8},
        search={"trials": 2, "seeds": [0], "metric": SENSITIVITY, "sampler": "random"},
        confirm={"seeds": 3, "keep": "chosen"},
        evaluate=[{"corruptions": ["gaussian_noise"], "severities": [5]}],
    )
    run_inline(file, run, cache)
    assert late(["--add", "{name: dim, corruptions: [contrast_down], severities: [3]}", str(run)]) == 0
    directory, others = RunDirectory(run), 0
    for study in directory.studies():
        choice, described = study.chosen(), study.description()
        assert choice is not None and choice["metric"] == SENSITIVITY
        for trial in study.trials("search"):
            result = trial.result()
            assert "test" not in result["metrics"] and set(result["fitted"]) == {SENSITIVITY, SPECIFICITY}
        cell = f"{described['label']}@{described['dataset']}"
        for model in open_models(find_kept(directory, cell), device="cpu"):
            (trial,) = (one for one in study.trials("confirm") if one.result()["seed"] == model.seed)
            others += check_confirmed(trial, model)
    assert others, "test images give no model another threshold: this shows nothing"
    text = (run / "report" / "report.md").read_text(encoding="utf-8")
    assert "Sensitivity at 90 % specificity on the test split" in text
    assert "was fixed for each training on its own validation predictions" in text and "A plugin defines" not in text


def check_confirmed(trial: TrialFolder, model: KeptModel) -> bool:
    """That all scores of a trial rest on what its validation images decide; whether test images decide otherwise."""
    result, metrics = trial.result(), [fitted_metric(SENSITIVITY), fitted_metric(SPECIFICITY)]
    own = model.restored
    validation = predict(own.model, own.data, "val", model.batch, own.precision)
    fitted = fit_on_validation(validation, own.data.targets("val").numpy(), metrics)
    assert result["fitted"] == fitted

    def scores(frame: pl.DataFrame) -> dict[str, Any]:
        return evaluate(
            frame.select("^logit_.*$").to_numpy(), frame["label"].to_numpy(), further=metrics, fitted=fitted
        )

    test = trial.predictions()
    recorded = [(result["metrics"]["test"], scores(test))]
    for one in result["evaluations"]:
        frame = trial.evaluation(one["evaluation"]).filter(pl.col("set") == one["set"])
        recorded.append((one["scores"], scores(frame)))
    assert len(recorded) == 3, "the test split, one evaluation in the sweep, one afterwards"
    for told, wanted in recorded:
        assert {name: told[name] for name in fitted} == {name: wanted[name] for name in fitted}
    return fit_on_validation(test.select("^logit_.*$").to_numpy(), test["label"].to_numpy(), metrics) != fitted


def test_tables_of_somebody_else_have_no_validation_predictions(tmp_path: Path) -> None:
    rows = ["method,dataset,seed,case_id,label,logit_0,logit_1"]
    rows += [f"{m},d,{s},c{k},{k % 2},0,{k * 0.1 + s}" for m in ("ours", "theirs") for s in (0, 1) for k in range(12)]
    predictions = tmp_path / "predictions.csv"
    predictions.write_text("\n".join(rows))
    with pytest.raises(RequestError, match="the tables have no such metric"):
        evidence_from_tables(None, predictions, metric=SENSITIVITY)
    results = tmp_path / "results.csv"
    values = [f"{m},d,{s},{SENSITIVITY},0.{s + 5}" for m in ("ours", "theirs") for s in (0, 1)]
    results.write_text("\n".join(["method,dataset,seed,metric,value", *values]))
    evidence = evidence_from_tables(results, predictions, metric=SENSITIVITY)
    assert evidence.cells["d", "ours"].scores[SENSITIVITY] == {0: 0.5, 1: 0.6}
    assert evidence.plan.label(SENSITIVITY) == "Sensitivity at 90 % specificity"
