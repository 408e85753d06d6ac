"""The worst subgroup and the gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.subgroups import extremes, worst_difference
from analysis.stats.twoway import two_way


def groups(levels: list[float], seed: int = 0, seeds: int = 6, cases: int = 80) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    trained = 0.02 * rng.normal(size=(seeds, 1))
    return [
        level + trained + 0.3 * rng.normal(size=(1, cases)) + 0.2 * rng.normal(size=(seeds, cases)) for level in levels
    ]


def test_the_worst_and_the_best_are_named_and_their_scores_are_those_observed() -> None:
    tables = groups([0.8, 0.4, 0.9])
    found = extremes(tables)
    assert (found.worst, found.best) == (1, 2)
    assert found.lowest.estimate == pytest.approx(tables[1].mean())
    assert found.gap.estimate == pytest.approx(tables[2].mean() - tables[1].mean())


def test_a_loss_is_worst_where_it_is_largest() -> None:
    tables = groups([0.8, 0.4, 0.9])
    found, turned = extremes(tables, higher_is_better=False), extremes([-table for table in tables])
    assert (found.worst, found.best) == (2, 1)
    assert found.lowest.estimate == pytest.approx(-turned.lowest.estimate)
    assert found.lowest.low == pytest.approx(-(turned.lowest.high or 0.0))
    assert found.gap == turned.gap


def test_far_from_the_others_the_worst_has_nearly_its_own_interval() -> None:
    tables = groups([0.9, 0.2, 0.95])
    found, own = extremes(tables).lowest, two_way(tables[1])
    assert found.low is not None and found.high is not None and own.low is not None and own.high is not None
    assert found.high - found.low == pytest.approx(own.high - own.low, rel=0.1)


@pytest.mark.parametrize(("levels", "least", "most"), [([0.5] * 6, 1.2, 2.0), ([0.5] + [0.95] * 5, 0.8, 1.0)])
def test_selection_widens_the_end_that_it_misleads_on_where_subgroups_are_alike(
    levels: list[float], least: float, most: float
) -> None:
    tables = groups(levels)
    found = extremes(tables)
    own = two_way(tables[found.worst])
    assert own.high is not None and found.lowest.high is not None
    # Relative to the interval of the subgroup that was observed to be the worst, as if it had been named before.
    ratio = (found.lowest.high - found.lowest.estimate) / (own.high - own.estimate)
    assert least < ratio < most


def test_a_gap_is_shown_between_subgroups_that_differ_alone() -> None:
    assert extremes(groups([0.5] * 6)).gap.low == 0.0
    assert (extremes(groups([0.5] + [0.95] * 5)).gap.low or 0.0) > 0.2


@given(st.integers(0, 5_000), st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_intervals_hold_their_estimate_and_a_gap_is_never_negative(seed: int, number: int) -> None:
    found = extremes(groups([0.5 + 0.02 * place for place in range(number)], seed))
    for one in (found.lowest, found.gap):
        assert one.low is not None and one.high is not None
        assert one.low <= one.estimate + 1e-12 and one.estimate <= one.high + 1e-12
    assert (found.gap.low or 0.0) >= 0.0


def test_a_method_that_is_better_in_its_worst_subgroup_is_found_so() -> None:
    control = groups([0.9, 0.3])
    better = [control[0], control[1] + 0.2]
    found = worst_difference(better, control)
    assert found.estimate == pytest.approx(0.2) and (found.low or 0.0) > 0.1
    turned = worst_difference([-table for table in better], [-table for table in control], higher_is_better=False)
    assert turned.estimate == pytest.approx(-0.2) and (turned.high or 0.0) < -0.1


def test_trainings_with_cases_of_their_own_have_one_score_each() -> None:
    tables = [table.mean(axis=1, keepdims=True) for table in groups([0.9, 0.3])]
    found = extremes(tables, shared=False)
    assert found.worst == 1 and (found.gap.low or 0.0) > 0.4


def test_where_nothing_varies_there_is_no_interval() -> None:
    found = extremes([np.full((3, 4), 0.25), np.full((3, 4), 0.75)])
    assert (found.lowest.estimate, found.lowest.low, found.gap.low) == (0.25, None, None)
    turned = extremes([np.full((3, 4), 0.25), np.full((3, 4), 0.75)], higher_is_better=False)
    assert (turned.lowest.estimate, turned.lowest.high) == (0.75, None)


def test_one_subgroup_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="at least two subgroups"):
        extremes(groups([0.5]))
