"""A small version of the part of ``benchmarks/calibration`` about several networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.stats.twoway import two_way
from benchmarks.calibration import networks
from benchmarks.calibration.gates import judged
from benchmarks.calibration.model import Row
from benchmarks.calibration.networks import ALIKE, BUT_ONE, EQUAL, of_networks


def states(*rows: Row) -> dict[str, str]:
    return {gate["gate"]: gate["state"] for gate in judged(rows)}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [EQUAL, ALIKE, BUT_ONE])
def test_changes_are_covered_and_none_is_made_up(shape: str) -> None:
    row = of_networks(shape, 3, 100, 0, seeds=5)
    found = states(row)
    assert len(found) == (3 if shape == EQUAL else 2) and set(found.values()) <= {"met", "too careful"}, row
    # The clearest of several changes is selected, and its interval is not corrected.
    assert row["clearest_coverage"] <= row["coverage"] + 0.01


@pytest.mark.slow
def test_an_analysis_that_takes_all_images_for_independent_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gates are no ornament: intervals from single answers miss too often and make changes up."""

    def naive(rows: Any, tables: Any) -> Any:
        flat = tables[0].ravel()
        return two_way(np.stack([flat, flat]))

    monkeypatch.setattr(networks, "mean_over_sets", naive)
    found = states(of_networks(EQUAL, 3, 60, 0, seeds=5))
    assert list(found.values())[:2] == ["not met", "not met"]


def test_each_promise_can_be_broken() -> None:
    row = {"part": "networks", "shape": EQUAL, "networks": 3, "seeds": 5, "repetitions": 2000}
    bad = {"coverage": 0.9, "coverage_error": 0.005, "false_changes": 0.08, "false_everywhere": 0.08}
    assert list(states({**row, **bad}).values()) == ["not met"] * 3
    # Two replicates carry no verdict.
    assert states({**row, **bad, "seeds": 2}) == {}
