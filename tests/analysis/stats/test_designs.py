"""A small version of ``benchmarks/calibration/designs``: its learner, its analyses, and what the command counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.stats.shared_images import mean_over_images
from analysis.stats.twoway import two_way
from benchmarks.calibration.designs.__main__ import main
from benchmarks.calibration.designs.analyses import analyses, shared_p
from benchmarks.calibration.designs.layouts import DESIGNS
from benchmarks.calibration.designs.learner import (
    BATCH,
    CLASSES,
    FIRST_SPREAD,
    Configurations,
    Method,
    balanced_accuracies,
    draw_pool,
    logits_of,
    train,
)
from benchmarks.calibration.designs.sweeps import HALVES, TWINS, Sweep, case_values
from harness.metrics.repeated import RepeatedCases
from harness.metrics.table import built_in


def test_trainings_side_by_side_are_trainings_one_by_one() -> None:
    pool = draw_pool(np.random.default_rng(1), 140)
    inputs, labels = pool.seen_by(Method(3)), pool.labels
    rates, decays = np.array([0.1, 4.0, 0.004], np.float32), np.array([1e-3, 0.1, 1e-5], np.float32)
    weights, biases = train(inputs, labels, Configurations(rates, decays), seed=7, epochs=3)
    logits = logits_of(inputs, weights, biases)
    for place, (rate, decay) in enumerate(zip(rates.tolist(), decays.tolist(), strict=True)):
        rng = np.random.default_rng(7)
        weight, bias = rng.normal(0, FIRST_SPREAD, (inputs.shape[1], CLASSES)), np.zeros(CLASSES)
        for _ in range(3):
            order = rng.permutation(len(labels))
            for start in range(0, len(labels) - BATCH + 1, BATCH):
                slope_of_weight, slope_of_bias = np.zeros_like(weight), np.zeros_like(bias)
                for image in order[start : start + BATCH]:
                    scores = np.exp(inputs[image].astype(np.float64) @ weight + bias)
                    error = scores / scores.sum() - np.eye(CLASSES)[labels[image]]
                    slope_of_weight += np.outer(inputs[image], error) / BATCH
                    slope_of_bias += error / BATCH
                weight -= rate * (slope_of_weight + decay * weight)
                bias -= rate * slope_of_bias
        assert logits[place] == pytest.approx(inputs @ weight + bias, rel=1e-3, abs=1e-3)


def test_values_of_cases_are_those_of_the_report() -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(4, 60, CLASSES)), np.repeat(np.arange(CLASSES - 1), [4, 5, 6, 7, 8, 9, 10, 5, 6])
    # A class without a case is left out of the mean.
    reported = built_in()["balanced_accuracy"].case_values(RepeatedCases(logits[:, :, :-1], labels))
    own = case_values(logits[:, :, :-1].argmax(axis=2) == labels, labels)
    assert reported is not None and own == pytest.approx(reported, abs=1e-12)
    assert balanced_accuracies(logits[:, :, :-1].astype(np.float32), labels) == pytest.approx(own.mean(axis=1))


def test_halves_are_equal_on_average_because_other_coins_swap_them() -> None:
    pool = draw_pool(np.random.default_rng(2), 80)
    swapped = replace(pool, coins=~pool.coins)
    assert (pool.seen_by(HALVES.first) == swapped.seen_by(HALVES.second)).all()
    assert (pool.seen_by(HALVES.first) != pool.seen_by(HALVES.second)).any(axis=1).all()


def test_shared_images_with_one_test_side_are_the_two_way_analysis() -> None:
    sweep = Sweep(HALVES, [3], [5], (4,))
    design = next(one for one in DESIGNS if one.letter == "CN")
    table = sweep.table(design, 3, 5)
    own = shared_p(table, list(range(5)), "cases")
    assert own == pytest.approx(two_way(table.differences).p_value(), rel=1e-9)
    # The training images that they have in common leave more open.
    assert shared_p(table, list(range(5)), "images") > own
    new = sweep.table(next(one for one in DESIGNS if (one.letter, one.splits) == ("F", "random")), 3, 5)
    p = [shared_p(new, list(range(5)), sharing) for sharing in ("cases", "images", "added")]
    assert p == sorted(p) and p[0] < p[2]


def test_what_is_measured_is_the_interval_of_the_report() -> None:
    sweep = Sweep(HALVES, [3], [5, 10], (6,))
    for design in (one for one in DESIGNS if one.letter == "F"):
        table = sweep.table(design, 3, 10)
        learned, seen = (
            np.array([np.isin(np.arange(500), side) for side in sides]) / sides.shape[1]
            for sides in (table.trains, table.tests)
        )
        shared = learned @ learned.T + learned @ seen.T + seen @ learned.T
        reported = mean_over_images(list(table.differences), list(table.tests), shared)
        assert shared_p(table, list(range(10)), "added") == pytest.approx(reported.p_value(), rel=1e-9)


def test_every_design_draws_anew_what_it_says() -> None:
    sweep = Sweep(TWINS, [3], [5, 10], (5,))
    tables = {design.name: sweep.table(design, 3, 10) for design in DESIGNS}
    for design in DESIGNS:
        table = tables[design.name]
        sides = {tuple(sorted(side)) for side in table.tests.tolist()}
        expected = 1 if design.splits == "one" else 5 if design.letter == "F5" else 10
        assert len(sides) == expected
        assert all(not set(test) & set(train) for test, train in zip(table.tests, table.trains, strict=True))
        assert len(set(table.searches)) == design.count(10)
        assert "two-way" in analyses(design, 10) or design.splits != "one"
    folds = next(one for one in DESIGNS if one.splits == "folds")
    tested = sweep.table(folds, 3, 10).tests
    assert sorted(tested[:5].ravel()) == sorted(tested[5:].ravel()) == list(range(500))
    # All designs begin on the split of the searches, where one search has one choice for both methods' replicates.
    one = next(design for design in DESIGNS if design.letter == "A")
    assert (sweep.table(folds, 3, 5).differences[0] == sweep.table(one, 3, 5).differences[0]).all()


@pytest.mark.slow
def test_one_search_calls_a_method_better_than_itself_and_a_search_a_replicate_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(repetitions: int, *more: str) -> list[dict[str, Any]]:
        few = ["--designs", "A", "CN", "--trials", "6", "--replicates", "5", "--repetitions", str(repetitions)]
        main([*few, "--out", str(tmp_path / "out.json"), *more])
        found: list[dict[str, Any]] = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"]
        return found

    keep = ["--keep", str(tmp_path / "kept")]
    rows(4, *keep)
    # A run that was killed while it wrote a line.
    kept = tmp_path / "kept" / "twins.jsonl"
    kept.write_bytes(kept.read_bytes()[:-100])
    assert rows(8, *keep) == rows(8)
    with pytest.raises(SystemExit, match="other designs"):
        main(["--designs", "B", "--out", str(tmp_path / "none.json"), *keep])

    figure = tmp_path / "figure.svg"
    found = {(row["letter"], row["splits"], row["analysis"]): row for row in rows(40, *keep, "--figure", str(figure))}
    today, several = found["A", "one", "two-way"], found["CN", "one", "two-way"]
    assert today["twins"]["low"] > 0.08 and not today["twins"]["at_level"]
    assert several["twins"]["rate"] <= 0.05 < several["power"]["low"]
    assert today["cost"] == 1 and several["trainings"] == 35
    assert "one search, one split: not at its level" in figure.read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "40 of 40 sweeps" in printed and "| CN | two-way | " in printed and "| 6 × 5 | " in printed
