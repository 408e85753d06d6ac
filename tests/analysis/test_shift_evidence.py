"""Evaluations beside the test split: read as evidence, compared, and how much each method loses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from made_up_shifts import LEVELS, SEEDS, SETS, SEVERITIES, logits, write_shifted

from analysis.comparison.compare import analyse
from analysis.comparison.evidence import Evidence, SplitImages
from analysis.comparison.shifts import Shift
from analysis.comparison.under_shift import ShiftFindings, findings_under
from analysis.runs.evidence import evidence_of, shifts_in
from analysis.runs.stored_shifts import StoredShift
from analysis.stats.case_sets import sum_of_sets
from analysis.stats.corruption_error import mean_corruption_error
from analysis.stats.scopes import scope_phrase
from analysis.stats.shared_images import OverImages
from analysis.stats.twoway import two_way
from analysis.words.shifts import shift_paragraphs
from harness.core.files import write_json
from harness.metrics.table import evaluate
from harness.run import frames
from harness.run.directory import RunDirectory


def read(run: RunDirectory) -> tuple[Evidence, tuple[Shift, ...]]:
    records = [frames.read(run)]
    evidence = evidence_of([run], records)
    return evidence, shifts_in([run], records, evidence)


def found_in(run: RunDirectory) -> dict[str, ShiftFindings]:
    return {one.shift.name: one for one in findings_under(read(run)[1])}


def scored(method: str, seed: int, kind: str, severity: int, cases: int = 240) -> tuple[np.ndarray, np.ndarray]:
    return logits(LEVELS[method], seed, method + "alpha", cases, 0.15 * severity, f"{kind} {severity}")


def right(method: str, seed: int, kind: str, severity: int) -> np.ndarray:
    values, labels = scored(method, seed, kind, severity)
    return np.asarray(values.argmax(axis=1) == labels, dtype=np.float64)


@pytest.fixture(scope="module")
def found(shared_builder: Callable[..., Any]) -> dict[str, ShiftFindings]:
    return found_in(write_shifted(shared_builder))


def test_a_run_without_evaluations_has_no_shift(builder: Callable[..., Any]) -> None:
    assert read(write_shifted(builder, evaluations=()))[1] == ()


def test_damaged_copies_are_one_question_and_each_external_set_is_one(found: dict[str, ShiftFindings]) -> None:
    assert list(found) == ["corruptions", "elsewhere"]
    damage, external = found["corruptions"].shift, found["elsewhere"].shift
    assert (damage.sets, damage.severities, damage.same_cases) == (SETS, SEVERITIES, True)
    assert (external.sets, external.severities, external.same_cases) == (("elsewhere",), (), False)
    assert damage.reference_name == "the test split"


def test_scores_under_a_shift_are_the_means_over_its_sets(found: dict[str, ShiftFindings]) -> None:
    cell = found["corruptions"].shift.evidence.cells["alpha", "gpaf"]
    for seed in SEEDS[:2]:
        own = [evaluate(*scored("gpaf", seed, kind, hard))["balanced_accuracy"] for kind in SETS for hard in SEVERITIES]
        assert cell.scores["balanced_accuracy"][seed] == pytest.approx(np.mean(own), abs=1e-12)


def test_methods_are_compared_under_a_shift_by_the_two_way_analysis_of_the_means(
    found: dict[str, ShiftFindings],
) -> None:
    analysis = found["corruptions"].analysis
    assert analysis is not None
    one = next(own for own in analysis.of("secondary") if own.pair.first == "gpaf" and own.pair.metric == "accuracy")
    tables = [
        np.mean([[right(name, seed, kind, hard) for seed in SEEDS] for kind in SETS for hard in SEVERITIES], axis=0)
        for name in ("gpaf", "control")
    ]
    expected = two_way(tables[0] - tables[1])
    assert one.pair.interval == "two_way" and one.pair.cases == 240
    assert one.pair.estimate is not None
    assert (one.pair.estimate.low, one.pair.estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert {own.outcome for own in analysis.of("primary") if own.pair.first == "gpaf"} == {"better"}


def test_the_scope_names_the_cases_and_nothing_wider(found: dict[str, ShiftFindings]) -> None:
    damaged, external = (found[name].analysis for name in ("corruptions", "elsewhere"))
    assert damaged is not None and external is not None
    said = [scope_phrase(one.of("primary")[0].pair.drawn) for one in (damaged, external)]
    assert said[0].startswith("retraining with new seeds and scoring new cases of the same source under these")
    assert "scoring new cases of elsewhere, given this training set" in said[1]


def test_each_shift_is_a_family_of_its_own(found: dict[str, ShiftFindings]) -> None:
    for one in found.values():
        assert one.analysis is not None
        assert {own.family for own in one.analysis.of("primary")} == {2}
        assert {own.family for own in one.drop_differences} == {2}


def test_a_drop_is_paired_by_case_where_the_cases_are_the_same(found: dict[str, ShiftFindings]) -> None:
    by_method = {one.method: one for one in found["corruptions"].drops}
    own = by_method["gpaf"]
    assert own.estimate.estimate == pytest.approx(own.reference - own.shifted) and own.estimate.estimate > 0.02
    other = {one.method: one for one in found["elsewhere"].drops}["gpaf"]
    # Damage moves the same cases; another dataset has other ones, which vary on top.
    widths = [(one.estimate.high or 0) - (one.estimate.low or 0) for one in (own, other)]
    assert 0 < widths[0] < widths[1]


def test_the_drop_to_other_cases_adds_what_both_sets_vary(builder: Callable[..., Any]) -> None:
    run = write_shifted(builder, evaluations=("elsewhere",))
    spec = dict(run.spec())
    spec["search"] = {**spec["search"], "metric": "accuracy"}
    write_json(run.path / "spec.json", spec)
    own = {one.method: one for one in found_in(run)["elsewhere"].drops}["gpaf"]

    def table(cases: int, *more: Any) -> np.ndarray:
        made = [logits(LEVELS["gpaf"], seed, "gpafalpha", cases, *more) for seed in SEEDS]
        return np.array([values.argmax(axis=1) == labels for values, labels in made], dtype=np.float64)

    expected = sum_of_sets([table(240), -table(180, 0.5, "elsewhere")])
    assert own.estimate.estimate == pytest.approx(expected.estimate, abs=1e-12)
    assert (own.estimate.low, own.estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_corruption_errors_are_relative_to_the_control(found: dict[str, ShiftFindings]) -> None:
    by_method = {one.method: one for one in found["corruptions"].corruption_errors}
    assert set(by_method) == {"gpaf", "lora_c"}
    rates = [
        [[1 - np.mean([right(name, seed, kind, hard) for seed in SEEDS]) for hard in SEVERITIES] for kind in SETS]
        for name in ("gpaf", "control")
    ]
    own = by_method["gpaf"].estimate
    assert own is not None and own.low is not None and own.high is not None
    assert own.estimate == pytest.approx(mean_corruption_error(*rates), abs=1e-12)
    assert 0 < own.low < own.estimate < own.high < 1
    assert list(by_method["gpaf"].by_set) == list(SETS)
    assert not found["elsewhere"].corruption_errors


def test_effective_robustness_is_given_where_the_controls_line_reaches_alone(found: dict[str, ShiftFindings]) -> None:
    by_method = {one.method: one for one in found["elsewhere"].beyond_line}
    # gpaf is better than every training of the control; lora_c is about as good as it.
    assert by_method["gpaf"].estimate is None and "beyond those of the control" in by_method["gpaf"].why
    own = by_method["lora_c"].estimate
    assert own is not None and own.low is not None and own.high is not None and own.low < own.high


def test_scores_fall_with_severity(found: dict[str, ShiftFindings]) -> None:
    means = [one.mean for one in found["corruptions"].by_severity if one.method == "control"]
    assert len(means) == len(SEVERITIES) and means[0] > means[-1]
    assert {one.set for one in found["corruptions"].by_set} == set(SETS)


def test_missing_predictions_leave_the_narrower_claim_and_say_so(builder: Callable[..., Any]) -> None:
    run = write_shifted(builder, withhold=lambda method, seed, name: method == "gpaf" and seed == SEEDS[0])
    analysis = found_in(run)["corruptions"].analysis
    assert analysis is not None
    intervals = {one.pair.first: one.pair.interval for one in analysis.of("primary")}
    assert intervals == {"gpaf": "t_over_seeds", "lora_c": "two_way"}
    assert any("predictions of seed 1000 in corruptions" in one.sentence for one in analysis.cautions)


def test_a_file_that_was_replaced_is_not_used(builder: Callable[..., Any]) -> None:
    run = write_shifted(builder, evaluations=("elsewhere",))
    path = next(run.path.glob("studies/gpaf@alpha/confirm/*1000*/evaluations/elsewhere.parquet"))
    frame = pl.read_parquet(path)
    frame.with_columns(pl.col("logit_0") + 3).write_parquet(path)
    analysis = found_in(run)["elsewhere"].analysis
    assert analysis is not None
    assert any("not those that the trial's result was made with" in one.sentence for one in analysis.cautions)


def test_trials_that_were_scored_on_other_images_are_left_out(builder: Callable[..., Any]) -> None:
    other = {("gpaf", SEEDS[0]), ("control", SEEDS[1])}
    run = write_shifted(builder, fingerprint=lambda method, seed: "beef" if (method, seed) in other else "f00d")
    analysis = found_in(run)["corruptions"].analysis
    assert analysis is not None
    seeds = {one.pair.first: one.pair.seeds for one in analysis.of("primary")}
    assert seeds == {"gpaf": SEEDS[2:], "lora_c": (SEEDS[0], *SEEDS[2:])}
    said = [one.sentence for one in analysis.cautions if one.code == "other_cases"]
    assert len(said) == 2 and "alpha, gpaf: seed 1000 was scored on other images in corruptions" in " ".join(said)


def test_the_copies_that_each_split_leaves_out_leave_the_common_cases(builder: Callable[..., Any]) -> None:
    run = write_shifted(builder, evaluations=("elsewhere",), splits=6, copies=lambda split: split)
    shift = read(run)[1][0]
    predictions = shift.evidence.predictions("alpha")
    assert predictions is not None and (predictions.cases, predictions.cautions) == (175, ())
    analysis = findings_under([shift])[0].analysis
    assert analysis is not None
    pair = analysis.of("primary")[0].pair
    assert (pair.interval, pair.cases) == ("over_splits", 175)


def test_where_each_split_has_a_search_of_its_own_shared_images_are_counted_under_a_shift_too(
    builder: Callable[..., Any],
) -> None:
    whole = read(write_shifted(builder, splits=6, copies=lambda split: split))[1]
    found = {}
    for shift in whole:
        stored = shift.evidence.predictions
        assert isinstance(stored, StoredShift)
        cells = {
            (dataset, method): replace(
                cell, searches={seed: f"{method} {seed}" for seed in cell.seeds}, tuned_on=dict(cell.splits)
            )
            for (dataset, method), cell in shift.evidence.cells.items()
        }
        splits = sorted({split for cell in cells.values() for split in cell.splits.values()})
        nothing = {(one, other): 0.0 for one in splits for other in splits}
        stored.of_test = lambda dataset: SplitImages(predictions=dict.fromkeys(splits), trained=nothing)  # type: ignore[arg-type]  # noqa: B023
        analysis = analyse(replace(shift.evidence, cells=cells))
        found[shift.name] = analysis.of("primary")[0].pair
    assert {pair.interval for pair in found.values()} == {"over_images"}
    # The same external images are on every split, but for copies of what is trained on there.
    estimate = found["elsewhere"].estimate
    assert isinstance(estimate, OverImages) and estimate.shared.variance > 0


def test_where_an_external_set_lacks_a_class_methods_are_compared_by_accuracy(builder: Callable[..., Any]) -> None:
    run = write_shifted(builder, evaluations=("elsewhere",), only=(0, 1))
    found = found_in(run)["elsewhere"]
    assert found.shift.undefined == "balanced_accuracy" and found.analysis is not None
    one = found.analysis.of("primary")[0]
    assert (one.pair.metric, one.pair.interval, one.outcome, one.equivalence_p) == (
        "accuracy",
        "two_way",
        "better",
        None,
    )
    assert found.drops[0].reference == pytest.approx(
        np.mean([value or 0 for value in read(run)[0].cells["alpha", "gpaf"].scores["accuracy"].values()])
    )
    assert "Balanced accuracy is not defined there" in shift_paragraphs(found)[0]


def test_an_evaluation_that_was_added_after_there_were_results_is_exploratory(builder: Callable[..., Any]) -> None:
    run = write_shifted(builder)
    entries = list(run.spec()["evaluate"])
    first = {
        "hypotheses": [],
        "comparison": {
            "metric": "balanced_accuracy", "control": "control", "family": "vs_control", "correction": "holm",
            "margin": 0.01, "looks": None, "alpha": 0.05,
        },
        "seeds": list(SEEDS), "repeat": False, "search": {"trials": 3, "sampler": "tpe"},
        "train": {}, "split": {}, "backbone": {}, "datasets": {"alpha": {}}, "slots": {},
        "methods": {name: {"method": "probe", "backbone": None, "space": {}} for name in LEVELS},
        "evaluate": entries[:1],
    }  # fmt: skip
    run.declare({"time": 0.0, "confirmed": 0, "declared": first})  # type: ignore[typeddict-item]
    run.amend({"time": 86400.0, "confirmed": 6, "declared": {**first, "evaluate": entries}})  # type: ignore[typeddict-item]
    found = found_in(run)
    declared, added = (found[name].analysis for name in ("corruptions", "elsewhere"))
    assert declared is not None and added is not None
    assert all(one.declared for one in declared.of("primary"))
    assert not any(one.declared for one in added.of("primary"))
    said = [one.sentence for one in added.cautions if one.code == "not_declared"]
    assert len(said) == 1 and said[0].endswith(
        "the evaluation elsewhere was added; comparisons by elsewhere are exploratory."
    )
    # The comparisons on the test split rest on no evaluation.
    assert read(run)[0].undeclared == ()


def test_a_domain_is_a_shift_from_held_out_cases_of_the_training_domains(builder: Callable[..., Any]) -> None:
    run = write_shifted(builder, evaluations=(), domain=["rosendahl"])
    evidence, shifts = read(run)
    assert [(one.name, one.declared) for one in shifts] == [("rosendahl", True)]
    found = findings_under(shifts)[0]
    assert found.analysis is None and found.shift.reference_name == "held-out cases of the training domains"
    assert all(one.estimate.estimate > 0.03 for one in found.drops) and len(found.drops) == 3
    assert evidence.scored == {"alpha": "new cases of rosendahl"}


@pytest.mark.parametrize("domain", [(), ("rosendahl",)])
def test_new_splits_are_counted_and_cases_that_all_of_them_share_too(
    builder: Callable[..., Any], domain: tuple[str, ...]
) -> None:
    evidence, shifts = read(write_shifted(builder, splits=6, domain=domain))
    main = analyse(evidence).of("primary")[0].pair
    assert (main.interval, main.cases) == ("over_splits", 240 if domain else None)
    found = {one.shift.name: one for one in findings_under(shifts)}
    external = found["elsewhere"].analysis
    assert external is not None
    pair = external.of("primary")[0].pair
    assert pair.interval == "over_splits" and pair.splits == 6 and pair.cases == 180
    assert "new training sets of the same source and scoring new cases of elsewhere" in scope_phrase(pair.drawn)
    damaged = found["corruptions"].analysis
    assert damaged is not None
    # Of damaged copies the cases are those of the split, unless that has the same test side as all others.
    assert damaged.of("primary")[0].pair.cases == (240 if domain else None)
    assert len(found["corruptions"].drops) == 3 and found["corruptions"].corruption_errors[0].estimate is not None
    if domain:
        whole = findings_under(shifts)[0]
        assert whole.shift.declared and len(whole.drop_differences) == 2
    assert any("added to that between splits" in text for text in shift_paragraphs(found["elsewhere"]))
