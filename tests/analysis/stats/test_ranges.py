"""Intervals stay within what a metric can be, and say the same as their p values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from analysis.stats.across_datasets import fixed_dataset_mean
from analysis.stats.decisions import probability_of_other_sign, probability_within
from analysis.stats.estimate import Estimate, mean_over_seeds
from analysis.stats.ranges import difference_within_range, over_new_cases, within_range
from analysis.stats.twoway import two_way


def hits(seed: int, seeds: int, cases: int, level: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    latent = level + rng.normal(size=(1, cases)) + 0.4 * rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, cases))
    return np.asarray(latent > 0, dtype=np.float64)


tables = st.builds(hits, st.integers(0, 2**32), st.integers(2, 12), st.integers(4, 60), st.floats(-3, 4))


@settings(deadline=None, max_examples=60)
@given(first=tables, truth=st.floats(-0.5, 1.5), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_an_interval_excludes_a_value_exactly_where_its_p_value_says_so(
    first: np.ndarray, truth: float, confidence: float
) -> None:
    alone = two_way(first, confidence=confidence)
    for found in (alone, fixed_dataset_mean([alone, two_way(first[:, ::-1] ** 2)], confidence)):
        p = found.p_value(truth)
        if p is None or found.low is None or found.high is None or abs(p - (1 - confidence)) < 1e-6:
            continue
        assert (found.low <= truth <= found.high) == (p > 1 - confidence)


@settings(deadline=None, max_examples=60)
@given(table=tables)
def test_the_interval_of_a_score_holds_it_and_stays_within_the_range(table: np.ndarray) -> None:
    found = within_range(two_way(table), (0.0, 1.0))
    if found.low is not None and found.high is not None:
        assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0
    # MCC from -1 to 1 is the same score on another scale, and a loss has one bound alone.
    stretched = within_range(two_way(2 * table - 1), (-1.0, 1.0))
    if found.low is not None and found.high is not None:
        assert (stretched.low, stretched.high) == pytest.approx((2 * found.low - 1, 2 * found.high - 1), abs=1e-9)
    loss = within_range(two_way(1e-3 + table), (0.0, math.inf))
    assert loss.low is None or 0.0 <= loss.low <= loss.estimate <= (loss.high or 0.0)


@settings(deadline=None, max_examples=60)
@given(table=tables)
def test_close_to_a_bound_a_score_is_no_surer_than_a_share_of_as_many_cases(table: np.ndarray) -> None:
    plain, cases = two_way(table), table.shape[1]
    found, within = over_new_cases(plain, (0.0, 1.0)), within_range(plain, (0.0, 1.0))
    wrong = cases * min(plain.estimate, 1 - plain.estimate)
    if wrong > 2:
        assert found == within
        return
    assert found.low is not None and found.high is not None
    assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0
    low, high = proportion_confint(cases * plain.estimate, cases, method="wilson")
    assert found.low <= low + 1e-12 and found.high >= high - 1e-12
    assert within.low is None or (found.low <= within.low and found.high >= (within.high or 0.0))
    stretched = over_new_cases(two_way(2 * table - 1), (-1.0, 1.0))
    assert (stretched.low, stretched.high) == pytest.approx((2 * found.low - 1, 2 * found.high - 1), abs=1e-9)


def test_by_hand_and_far_from_a_bound() -> None:
    score = Estimate(estimate=0.9, standard_error=0.05, df=1e9, confidence=0.95, low=None, high=None, scope="seeds")
    found, half = within_range(score, (0.0, 1.0)), stats.norm.ppf(0.975) * 0.05
    logit, slope = math.log(9), 1 / 0.09
    ends = [1 / (1 + math.exp(-(logit + sign * half * slope))) for sign in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(tuple(ends))

    loss = within_range(score, (0.0, math.inf))
    assert (loss.low, loss.high) == pytest.approx((0.9 * math.exp(-half / 0.9), 0.9 * math.exp(half / 0.9)))
    # Where nothing is near, and where a metric has no bounds, it is the usual one.
    middle = mean_over_seeds(np.array([0.499, 0.5, 0.501]))
    assert middle.low is not None and middle.high is not None
    near = within_range(middle, (0.0, 1.0))
    assert (near.low, near.high) == pytest.approx((middle.low, middle.high), abs=1e-4)
    assert within_range(middle, (-math.inf, math.inf)) == middle


def test_a_difference_is_cut_where_there_is_none_and_says_so() -> None:
    wild = mean_over_seeds(np.array([-0.4, 0.9]))
    cut = difference_within_range(wild, (0.0, 1.0))
    assert wild.low is not None and wild.low < -1 and (cut.low, cut.high) == (-1.0, 1.0)
    assert [one.code for one in cut.cautions] == ["cut_at_range"]
    assert cut.p_value() == wild.p_value()
    assert difference_within_range(wild, (0.0, math.inf)) == wild


def test_posterior_probabilities_are_what_comes_true() -> None:
    # Truths from a wide prior: among outcomes with the same statement, it holds as often as it says.
    rng = np.random.default_rng(4)
    truths, stated, wrong, inside, within = rng.uniform(-0.4, 0.4, 1500), [], [], [], []
    for truth in truths:
        table = truth + 0.1 * rng.normal(size=(5, 1)) + 0.4 * rng.normal(size=(1, 60)) + 0.4 * rng.normal(size=(5, 60))
        found = two_way(table)
        other, near = probability_of_other_sign(found), probability_within(found, 0.05)
        assert other is not None and near is not None
        stated.append(other)
        wrong.append((truth > 0) != (found.estimate > 0))
        inside.append(near)
        within.append(abs(truth) < 0.05)
    assert np.mean(wrong) == pytest.approx(np.mean(stated), abs=0.015)
    assert np.mean(within) == pytest.approx(np.mean(inside), abs=0.02)
    unsure = np.array(stated) > 0.1
    assert np.mean(np.array(wrong)[unsure]) == pytest.approx(np.mean(np.array(stated)[unsure]), abs=0.06)
