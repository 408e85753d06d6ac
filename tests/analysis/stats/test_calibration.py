"""A small version of ``benchmarks/calibration``: what the protocol promises, and what it protects from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.calibration.__main__ import main
from benchmarks.calibration.first_order import first_order
from benchmarks.calibration.null import SCENARIOS, under_the_null
from benchmarks.calibration.power import power_found
from benchmarks.calibration.scores import scores_within_range
from benchmarks.calibration.searches import over_searches
from benchmarks.calibration.sources import labels_of_one_source
from benchmarks.calibration.splits import over_splits

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accuracy, noisy seeds", "accuracy, several images a patient, grouped"])
def test_intervals_cover_and_claims_are_rarely_false(name: str) -> None:
    row = under_the_null(BY_NAME[name], 150, 0, seeds=10)
    assert row["met"], row
    # The interval over seeds alone would have been sold as the same thing.
    assert row["coverage_seeds_only"] < row["coverage"] - 0.01


@pytest.mark.slow
def test_images_of_one_patient_counted_as_independent_are_noticed() -> None:
    row = under_the_null(BY_NAME["accuracy, several images a patient, not grouped"], 160, 0, seeds=10)
    assert not row["met"]
    assert row["coverage"] < 0.9 and row["false_claims"]["all_pairs"] > 0.2


@pytest.mark.slow
def test_the_power_is_what_the_plan_says() -> None:
    row = power_found(400, 0, seeds=10)
    assert row["met"], row
    assert 0.3 < row["planned"]["alone"] < 0.95


@pytest.mark.slow
def test_values_that_are_right_to_first_order_cover_and_are_no_wider_than_they_must_be() -> None:
    row = first_order(0.15, 200, 0, seeds=5)
    assert row["met"], row
    beside = row["macro_f1_beside_bootstrap"]
    assert 0.5 * beside["bootstrap_width"] < beside["width"] <= 0.8 * beside["bootstrap_width"]


@pytest.mark.slow
def test_six_labels_of_one_source_make_no_more_false_claims_than_one() -> None:
    row = labels_of_one_source(6, 300, 0, seeds=10)
    assert row["met"], row
    assert row["false_claims"]["apart"] > 0.15 and row["false_claims"]["new_datasets_apart"] > 0.15


@pytest.mark.slow
def test_splits_that_overlap_make_no_more_false_claims_than_independent_ones() -> None:
    row = over_splits(2, 1.0, 300, 0, seeds=5)
    assert row["met"], row
    assert row["false_claims"]["plain"] > 0.15
    row = over_searches(3, 4.0, 300, 0, seeds=20)
    assert row["met"], row
    assert row["false_claims"]["plain"] > 0.3


@pytest.mark.slow
def test_no_interval_of_a_score_leaves_the_range_up_to_the_ceiling() -> None:
    row = scores_within_range(30, 0, seeds=5)
    assert row["met"], row
    assert row["outside"] == 0 and row["outside_without_the_logit"] > 0.2 * row["intervals"]


@pytest.mark.slow
def test_averages_over_few_patients_cover() -> None:
    row = under_the_null(BY_NAME["accuracy, 12 patients of 25 images"], 60, 0, seeds=5)
    assert row["met"], row
    assert row["coverage_seeds_only"] < 0.8


def test_a_run_writes_its_numbers_and_repeats_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = []
    for name in ("one.json", "two.json"):
        main(["--repetitions", "6", "--seeds", "5", "--only", "quiet", "--out", str(tmp_path / name)])
        records.append(json.loads((tmp_path / name).read_text(encoding="utf-8")))
    assert records[0]["rows"] == records[1]["rows"]
    assert [row["scenario"] for row in records[0]["rows"]] == ["accuracy, quiet seeds"]
    assert "accuracy, quiet seeds, 5 seeds: coverage" in capsys.readouterr().out
