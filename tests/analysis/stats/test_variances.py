"""What a variance may be: few nodes stand for the whole integral, and a quantile is the inverse of a tail."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.quadrature import mean_square_ratio
from analysis.stats.variances import MeanSquare, possible

freedom = st.sampled_from([1.0, 1.7, 2.0, 4.0, 9.0, 19.0, 59.0])
many = st.sampled_from([11.0, 49.0, 61.0, 149.0, 999.0, 20000.0])


def tail_by_student(seed: MeanSquare, case: MeanSquare, distance: float) -> float:
    """The same tail by another way: for each variance of cases, an integral over 400 ones of seeds."""
    (ratio, weight), (ratios, weights) = mean_square_ratio(seed.df, 400), mean_square_ratio(case.df, 60)
    values = seed.variance / ratio[:, None] + case.variance / ratios
    return float(weight @ stats.norm.sf(distance / values**0.5) @ weights)


shares = st.one_of(st.floats(0.0, 0.99), st.floats(-12.0, -1.0).map(lambda power: 10.0**power))
"""A share of the seeds that is all but nothing is the hardest: little of the integral decides the tail."""


@settings(deadline=None, max_examples=100)
@example(df=1.0, cases=20000.0, share=3.2e-8, errors=9.0)
@example(df=1.7, cases=20000.0, share=3.2e-5, errors=8.0)
@example(df=2.0, cases=20000.0, share=3.2e-4, errors=9.0)
@given(df=freedom, cases=many, share=shares, errors=st.floats(0.1, 9.0))
def test_few_nodes_give_the_tail_of_the_whole_integral(df: float, cases: float, share: float, errors: float) -> None:
    seed, case = MeanSquare(share, df), MeanSquare(1 - share, cases)
    exact = tail_by_student(seed, case, errors)
    if exact >= 1e-6:
        assert possible(seed, case).tail(errors) == pytest.approx(exact, rel=2e-4 if df < 2 else 1e-4)


@settings(deadline=None, max_examples=60)
@given(df=freedom, errors=st.floats(0.1, 9.0))
def test_seeds_alone_have_the_tail_of_student(df: float, errors: float) -> None:
    exact = float(stats.t.sf(errors, df))
    if exact >= 1e-6:
        assert possible(MeanSquare(1.0, df)).tail(errors) == pytest.approx(exact, rel=2e-4 if df < 2 else 1e-4)


@settings(deadline=None, max_examples=60)
@given(df=freedom, cases=many, share=st.floats(0.0, 0.99), tail=st.floats(1e-5, 0.4))
def test_a_distance_is_the_inverse_of_a_tail(df: float, cases: float, share: float, tail: float) -> None:
    variances = possible(MeanSquare(share, df), MeanSquare(1 - share, cases))
    distance = variances.distance(tail)
    assert variances.tail(distance) == pytest.approx(tail, rel=1e-6)
    assert math.isfinite(distance) and distance > 0
