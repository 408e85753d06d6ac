"""A small version of the parts of ``benchmarks/calibration`` about shifts, subgroups and training sizes."""

from __future__ import annotations

import pytest

from benchmarks.calibration.gates import judged
from benchmarks.calibration.model import Row
from benchmarks.calibration.shifts import (
    held_out_domains,
    on_other_cases,
    one_set_for_all_splits,
    under_corruptions,
)
from benchmarks.calibration.sizes import of_curves
from benchmarks.calibration.subgroups import EQUAL, ONE_WORSE, of_subgroups


def states(*rows: Row) -> dict[str, str]:
    return {gate["gate"]: gate["state"] for gate in judged(rows)}


@pytest.mark.slow
def test_differences_drops_and_the_corruption_error_under_a_shift_keep_their_promise() -> None:
    found = states(under_corruptions(120, 0, seeds=5), on_other_cases(200, 0, seeds=5))
    assert len(found) == 2 and set(found.values()) <= {"met", "too careful"}, found


@pytest.mark.slow
def test_a_set_that_all_splits_share_is_counted_with_its_cases() -> None:
    row = one_set_for_all_splits(3.0, 400, 0, seeds=10)
    assert set(states(row).values()) <= {"met", "too careful"}, row
    assert row["coverage"]["without cases"] < 0.85


@pytest.mark.slow
def test_domains_that_are_held_out_in_turn_are_not_taken_for_independent() -> None:
    row = held_out_domains(1.0, 1000, 0, seeds=10)
    assert set(states(row).values()) == {"met"}, row
    assert row["coverage"]["independent"] < 0.9


@pytest.mark.slow
def test_the_worst_subgroup_and_the_gap_are_covered_and_no_gap_is_made_up() -> None:
    found = states(of_subgroups(EQUAL, 4, 150, 0, seeds=5), of_subgroups(ONE_WORSE, 4, 150, 0, seeds=5))
    assert len(found) == 3 and set(found.values()) <= {"met", "too careful"}, found


@pytest.mark.slow
def test_areas_and_images_needed_are_covered() -> None:
    row = of_curves("equal", 150, 0, seeds=10)
    assert set(states(row).values()) <= {"met", "too careful"}, row
    assert row["needed"] == pytest.approx(700, rel=1e-6) and 0 < row["closed"] < 1


def a_row(part: str, **values: object) -> Row:
    return {"part": part, "seeds": 5, "repetitions": 2000, **values}


def test_each_promise_can_be_broken() -> None:
    low = {"coverage": {"drop": 0.90}, "coverage_error": {"drop": 0.005}, "false_claims": 0.08}
    assert set(states(a_row("shifts", name="made up", **low)).values()) == {"not met"}
    worst = {"coverage": dict.fromkeys(("worst", "gap", "difference of the worst"), 0.9), "gap_claimed": 0.09}
    assert set(states(a_row("subgroups", shape=EQUAL, groups=2, **worst)).values()) == {"not met"}
    curve = {"coverage": {"area": 0.95, "images needed": 0.9}, "lead": "equal"}
    assert set(states(a_row("sizes", needed=700.0, **curve)).values()) == {"not met"}
    assert set(states(a_row("sizes", needed=None, **curve)).values()) == {"met"}
