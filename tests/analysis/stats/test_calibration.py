"""A small version of ``benchmarks/calibration``: what the protocol promises, and what it protects from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import ROOT

from benchmarks.calibration.__main__ import main
from benchmarks.calibration.first_order import first_order
from benchmarks.calibration.gates import judged
from benchmarks.calibration.judging import markdown
from benchmarks.calibration.model import Row
from benchmarks.calibration.null import SCENARIOS, under_the_null
from benchmarks.calibration.posterior import posterior
from benchmarks.calibration.power import power_found
from benchmarks.calibration.scores import scores_within_range
from benchmarks.calibration.searches import over_searches
from benchmarks.calibration.sources import labels_of_one_source
from benchmarks.calibration.splits import over_splits
from benchmarks.calibration.twins import twins


def kept(*rows: Row) -> bool:
    """Whether the promises that the rows have counts for are kept."""
    gates = judged(rows)
    return bool(gates) and all(gate["state"] in ("met", "too careful") for gate in gates)


def test_the_page_has_the_gates_of_the_last_full_run() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "calibration.json").read_text())
    assert record["gates"] == judged(record["rows"])
    assert "\n".join(markdown(record["gates"])) in (ROOT / "docs" / "statistics.md").read_text()


BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accuracy, noisy seeds", "accuracy, several images a patient, grouped"])
def test_intervals_cover_and_claims_are_rarely_false(name: str) -> None:
    row = under_the_null(BY_NAME[name], 150, 0, seeds=10)
    assert kept(row), judged([row])
    # The interval over seeds alone would have been sold as the same thing.
    assert row["coverage_seeds_only"] < row["coverage"] - 0.01


@pytest.mark.slow
def test_images_of_one_patient_counted_as_independent_are_noticed() -> None:
    row = under_the_null(BY_NAME["accuracy, several images a patient, not grouped"], 160, 0, seeds=10)
    assert not judged([row])
    assert row["coverage"] < 0.9 and row["false_claims"]["all_pairs"] > 0.2


@pytest.mark.slow
def test_the_power_is_what_the_plan_says() -> None:
    row = power_found(400, 0, seeds=10)
    assert kept(row), judged([row])
    assert 0.3 < row["planned"]["alone"] < 0.95


@pytest.mark.slow
def test_values_that_are_right_to_first_order_cover_and_are_no_wider_than_they_must_be() -> None:
    row = first_order(0.15, 200, 0, seeds=5)
    assert kept(row), judged([row])
    beside = row["macro_f1_beside_bootstrap"]
    assert 0.5 * beside["bootstrap_width"] < beside["width"] <= 0.8 * beside["bootstrap_width"]


@pytest.mark.slow
def test_six_labels_of_one_source_make_no_more_false_claims_than_one() -> None:
    row = labels_of_one_source(6, 300, 0, seeds=10)
    assert kept(row), judged([row])
    assert row["false_claims"]["apart"] > 0.15 and row["false_claims"]["new_datasets_apart"] > 0.15


@pytest.mark.slow
def test_splits_that_overlap_make_no_more_false_claims_than_independent_ones() -> None:
    row = over_splits(2, 1.0, 300, 0, seeds=5)
    assert kept(row), judged([row])
    assert row["false_claims"]["plain"] > 0.15
    row = over_searches(3, 4.0, 300, 0, seeds=20)
    assert kept(row), judged([row])
    assert row["false_claims"]["plain"] > 0.3


@pytest.mark.slow
def test_no_interval_of_a_score_leaves_the_range_up_to_the_ceiling() -> None:
    row = scores_within_range(30, 0, seeds=5)
    assert kept(row), judged([row])
    assert row["outside"] == 0 and row["outside_without_the_logit"] > 0.2 * row["intervals"]


@pytest.mark.slow
def test_averages_over_few_patients_cover() -> None:
    row = under_the_null(BY_NAME["accuracy, 12 patients of 25 images"], 60, 0, seeds=5)
    assert kept(row), judged([row])
    assert row["coverage_seeds_only"] < 0.8


@pytest.mark.slow
def test_what_a_claim_says_of_being_wrong_comes_true_as_often() -> None:
    row = posterior(2000, 0, seeds=5)
    assert kept(row), judged([row])
    wrong = next(own for own in row["bins"] if own["of"] == "wrong sign" and own["stated"] == "all")
    assert wrong["came_true"] == pytest.approx(wrong["mean_stated"], abs=0.02)


@pytest.mark.slow
def test_a_method_is_rarely_called_different_from_itself_where_searches_are_drawn_anew() -> None:
    row = twins(40, 0, seeds=10)
    wide, narrow = (
        [gate for gate in judged([row]) if (gate["state"] == "no promise") == only] for only in (False, True)
    )
    assert [gate["state"] for gate in wide] == ["met"], wide
    # New seeds alone are the design that takes the luck of one search for the method.
    price = narrow[-1]
    assert price["median"] > 2 * wide[0]["median"] and price["worst"] > 0.15


def a_row(part: str, **values: object) -> Row:
    return {"part": part, "seeds": 5, "repetitions": 2000, **values}


@pytest.mark.parametrize(
    ("coverage", "state"), [(0.96, "met"), (0.92, "not met"), (0.99, "too careful"), (0.931, "met"), (0.974, "met")]
)
def test_coverage_is_judged_on_both_sides_up_to_the_error_of_its_count(coverage: float, state: str) -> None:
    (gate,) = judged([a_row("splits", name="two", coverage=coverage)])
    assert gate["state"] == state
    assert (gate["worst"], gate["cases"]) == (coverage, 1)


def test_a_gate_is_judged_by_its_worst_count_whose_interval_is_wilsons() -> None:
    null = {"scenario": "quiet", "required": True, "careful": False, "coverage": 0.95, "coverage_error": 0.001}
    null["coverage_fixed_datasets"] = 0.95
    rows = [a_row("null", **null, false_claims={"all_pairs": rate, "vs_control": 0.01}) for rate in (0.02, 0.056, 0.03)]
    gate = judged(rows)[0]
    # 112 of 2,000: at most .05 within the error of a count, but the upper end is beyond .065.
    assert (gate["worst"], gate["state"], gate["unsafe"]) == (0.056, "not met", 1)
    assert (gate["low"], gate["high"]) == pytest.approx((0.04673, 0.06698), abs=1e-4)
    assert "quiet, 5 seeds, all pairs" in next(line for line in markdown([gate]) if "quiet" in line)


def test_a_run_writes_its_numbers_and_repeats_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept_in = tmp_path / "kept.jsonl"
    given = ["--repetitions", "6", "--seeds", "5", "--only", "quiet", "--processes", "1"]
    records = []
    for name, more in (("one", []), ("two", ["--keep", str(kept_in)]), ("three", ["--keep", str(kept_in)])):
        main([*given, *more, "--out", str(tmp_path / f"{name}.json")])
        records.append(json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")))
        for row in records[-1]["rows"]:
            del row["processor_seconds"]
    assert records[0]["rows"] == records[1]["rows"] == records[2]["rows"]
    assert [row["scenario"] for row in records[0]["rows"]] == ["accuracy, quiet seeds"]
    assert len(kept_in.read_text(encoding="utf-8").splitlines()) == 1
    assert "accuracy, quiet seeds, 5 seeds: coverage" in capsys.readouterr().out
