"""Means over trainings and sets of cases, drops, and the corruption error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.case_sets import mean_over_sets, row_values, sum_of_sets
from analysis.stats.cautions import Refused
from analysis.stats.corruption_error import corruption_error_values, mean_corruption_error
from analysis.stats.resampled import mean_over_splits
from analysis.stats.twoway import two_way


def table(seed: int, seeds: int = 6, cases: int = 40, of_seeds: float = 0.1, of_cases: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    effects = of_seeds * rng.normal(size=(seeds, 1)) + of_cases * rng.normal(size=(1, cases))
    return 0.1 + effects + 0.3 * rng.normal(size=(seeds, cases))


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(5, 60))
@settings(max_examples=40, deadline=None)
def test_one_set_with_independent_trainings_is_the_two_way_analysis(seed: int, seeds: int, cases: int) -> None:
    values = table(seed, seeds, cases)
    one, other = sum_of_sets([values]), two_way(values)
    assert one.estimate == pytest.approx(other.estimate, abs=1e-12)
    assert one.low == pytest.approx(other.low, abs=1e-7)
    assert one.p_value() == pytest.approx(other.p_value(), abs=1e-7)


def test_sets_of_cases_that_have_nothing_in_common_add_their_variances() -> None:
    # Trainings do the same to both sets, so they cancel in the difference and the cases of both remain.
    rng = np.random.default_rng(3)
    first = rng.normal(size=(1, 4000)) + rng.normal(size=(20, 1)) + np.zeros((20, 4000))
    second = 2 * rng.normal(size=(1, 1000)) + (first[:, :1] - first[:1, :1]) + np.zeros((20, 1000))
    found = sum_of_sets([first, -second])
    assert found.standard_error == pytest.approx(math.sqrt(1 / 4000 + 4 / 1000), rel=0.05)
    assert two_way(first).standard_error == pytest.approx(1 / math.sqrt(20), rel=0.4)


def test_a_set_that_all_splits_share_adds_its_cases_to_what_splits_vary() -> None:
    values = table(5, 8, 50, of_cases=1.0)
    rows = mean_over_splits(values.mean(axis=1), range(8), 0.3)
    whole = mean_over_sets(rows, [values])
    assert rows.standard_error is not None and whole.standard_error is not None
    assert whole.standard_error**2 > rows.standard_error**2 + 0.5 / 50
    assert (whole.low or 0) < (rows.low or 0) < (rows.high or 0) < (whole.high or 0)
    assert mean_over_sets(rows, []).low == pytest.approx(rows.low, abs=1e-7)
    assert whole.scope == "splits"


def test_without_any_variation_there_is_no_interval() -> None:
    found = sum_of_sets([np.full((3, 4), 0.25), np.full((3, 6), -0.25)])
    assert (found.estimate, found.low, found.p_value()) == (0.0, None, None)
    assert [one.code for one in found.cautions] == ["zero_variance"]


def test_trainings_that_do_not_correspond_are_refused() -> None:
    with pytest.raises(ValueError, match="same trainings"):
        row_values([np.zeros((3, 4)), np.zeros((2, 4))])
    with pytest.raises(ValueError, match="at least one set"):
        sum_of_sets([])


def test_the_mean_corruption_error_of_a_made_up_table() -> None:
    # By hand: noise (.2 + .4) / (.3 + .5) = .75; blur (.1 + .2) / (.1 + .15) = 1.2; their mean is .975.
    method, control = [[0.2, 0.4], [0.1, 0.2]], [[0.3, 0.5], [0.1, 0.15]]
    assert mean_corruption_error(method, control) == pytest.approx(0.975, abs=1e-12)
    assert mean_corruption_error(control, control) == 1.0


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_values_of_cases_have_the_corruption_error_as_their_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    method, control = (rng.random((3, 4, 30)) < 0.4).astype(float), (rng.random((3, 4, 30)) < 0.5).astype(float)
    expected = mean_corruption_error(method.mean(axis=(1, 2))[:, None], control.mean(axis=(1, 2))[:, None])
    assert corruption_error_values(method, control).mean() == pytest.approx(expected, abs=1e-12)
    by_training = corruption_error_values(method.mean(axis=2), control.mean(axis=2))
    assert by_training == pytest.approx(corruption_error_values(method, control).mean(axis=1), abs=1e-12)


def test_the_values_of_cases_are_the_derivative_of_the_corruption_error() -> None:
    rng = np.random.default_rng(8)
    method, control = rng.random((2, 3, 10)), 0.2 + rng.random((2, 3, 10))
    values, weights = corruption_error_values(method, control), np.ones(10)

    def weighed(weights: np.ndarray) -> float:
        own, other = ((one.mean(axis=1) @ weights)[:, None] / weights.sum() for one in (method, control))
        return mean_corruption_error(own, other)

    more = weights.copy()
    more[4] += 1e-6
    slope = (weighed(more) - weighed(weights)) / 1e-6
    assert slope * 10 == pytest.approx(values[:, 4].mean() - values.mean(), abs=1e-4)


def test_a_control_without_errors_leaves_it_undefined() -> None:
    with pytest.raises(Refused, match="no error under one of the corruptions"):
        mean_corruption_error([[0.1], [0.2]], [[0.1], [0.0]])
    with pytest.raises(ValueError, match="same cases"):
        corruption_error_values(np.zeros((2, 3)), np.zeros((3, 3)))
