from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.runs.intervals import t_interval

# Five values with Student's interval by the closed form, and the interval of the percentile bootstrap by full
# enumeration of the 3125 resamples: computed independently of this code, each to 1e-9.
VALUES = [0.812, 0.825, 0.809, 0.834, 0.818]
T_95 = (0.8070413803999907, 0.8321586196000093)
T_STANDARD_ERROR = 0.004523273151159438
PERCENTILE_95 = (0.812, 0.8277999999999999)


def test_five_seeds_give_students_interval_and_not_a_bootstrap() -> None:
    interval = t_interval(VALUES)

    assert interval.n == 5
    assert interval.mean == pytest.approx(0.8196, abs=1e-12)
    assert interval.sd == pytest.approx(T_STANDARD_ERROR * math.sqrt(5), abs=1e-12)
    assert (interval.low, interval.high) == pytest.approx(T_95, abs=1e-9)
    assert interval.low is not None and interval.low < PERCENTILE_95[0]


def test_one_seed_has_neither_spread_nor_interval() -> None:
    interval = t_interval([0.7])

    assert (interval.n, interval.mean, interval.sd, interval.low, interval.high) == (1, 0.7, None, None, None)


def test_equal_seeds_have_a_spread_of_exactly_nothing() -> None:
    interval = t_interval([0.1, 0.1, 0.1])

    assert (interval.sd, interval.low, interval.high) == (0.0, 0.1, 0.1)


@pytest.mark.parametrize(
    ("values", "confidence"),
    [([], 0.95), ([0.1, math.nan], 0.95), ([0.1, math.inf], 0.95), ([0.1, 0.2], 1.0)],
)
def test_what_has_no_interval_is_refused(values: list[float], confidence: float) -> None:
    with pytest.raises(ValueError, match="got"):
        t_interval(values, confidence)


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=12),
    st.floats(0.01, 100),
    st.floats(-100, 100),
    st.randoms(use_true_random=False),
)
def test_interval_moves_with_the_unit_and_ignores_the_order(
    values: list[float], scale: float, shift: float, shuffler: random.Random
) -> None:
    plain = t_interval(values)
    moved = [scale * value + shift for value in values]
    shuffler.shuffle(moved)
    other = t_interval(moved)

    assert plain.low is not None and plain.high is not None
    assert (other.low, other.high) == pytest.approx(
        (scale * plain.low + shift, scale * plain.high + shift), rel=1e-9, abs=1e-7
    )


def test_95_percent_of_normal_samples_of_five_cover_their_mean() -> None:
    draw = random.Random(20_26)
    repetitions, covered = 4000, 0
    for _ in range(repetitions):
        interval = t_interval([draw.gauss(3.0, 2.0) for _ in range(5)])
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= 3.0 <= interval.high

    # Four standard errors of the simulation; with 1.96 in place of Student's quantile 0.878 would be covered.
    assert covered / repetitions == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / repetitions))
