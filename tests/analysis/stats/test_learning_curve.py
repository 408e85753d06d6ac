"""The area under a learning curve, and the images that a method saves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.estimate import Estimate, with_interval
from analysis.stats.learning_curve import area_weights, between_weights, images_needed, monotone

SIZES = (10.0, 100.0, 1000.0)


def known(means: list[float], score: float, error: float = 0.02):
    def difference(weights: np.ndarray) -> Estimate:
        return with_interval(float(weights @ np.array(means)) - score, error, 50.0, 0.95, "seeds")

    return difference


def test_the_area_is_that_of_the_trapezoids_over_the_logarithm() -> None:
    # By hand: sizes a factor of ten apart; ((.5 + .7) / 2 + (.7 + .8) / 2) / 2 = .675.
    assert area_weights(SIZES) @ np.array([0.5, 0.7, 0.8]) == pytest.approx(0.675)
    assert area_weights((10, 25, 100)).sum() == pytest.approx(1.0)
    uneven = np.interp(np.linspace(np.log(10), np.log(100), 100_001), np.log([10, 25, 100]), [0.2, 0.5, 0.6]).mean()
    assert area_weights((10, 25, 100)) @ np.array([0.2, 0.5, 0.6]) == pytest.approx(uneven, abs=1e-5)


def test_a_size_between_two_has_a_score_between_theirs() -> None:
    assert between_weights(SIZES, math.sqrt(1000)) @ np.array([0.5, 0.7, 0.8]) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="beyond"):
        between_weights(SIZES, 2000)


def test_the_control_needs_as_many_images_as_its_curve_says() -> None:
    means = [0.5, 0.7, 0.8]
    found = images_needed(SIZES, means, 0.6, 10, known(means, 0.6))
    assert found.reached and found.estimate == pytest.approx(math.sqrt(1000), rel=1e-6)
    assert found.saved == pytest.approx(math.sqrt(1000) - 10, rel=1e-6)
    # The score at an end differs by the half width, .02 · t: log10 of the size by a fifth of that, times ten.
    half = 0.02 * 2.0086
    assert math.log10(found.high or 0) == pytest.approx(1.5 + half / 0.2, abs=1e-3)
    assert math.log10(found.low or 0) == pytest.approx(1.5 - half / 0.2, abs=1e-3)


def test_what_the_control_never_reaches_is_not_put_into_a_number() -> None:
    means = [0.5, 0.7, 0.8]
    beyond = images_needed(SIZES, means, 0.9, 1000, known(means, 0.9))
    assert (beyond.reached, beyond.estimate, beyond.saved, beyond.high) == (False, None, None, None)
    assert beyond.low == pytest.approx(1000)
    nearly = images_needed(SIZES, means, 0.79, 1000, known(means, 0.79))
    assert nearly.reached and nearly.high is None and (nearly.low or 0) > 100
    early = images_needed(SIZES, means, 0.3, 10, known(means, 0.3))
    assert (early.reached, early.estimate, early.low) == (True, None, None) and early.high == pytest.approx(10)


def test_a_loss_falls_as_a_score_rises() -> None:
    means = [0.5, 0.7, 0.8]
    up = images_needed(SIZES, means, 0.6, 10, known(means, 0.6))
    down = images_needed(
        SIZES, [-mean for mean in means], -0.6, 10, known([-mean for mean in means], -0.6), higher_is_better=False
    )
    assert (down.estimate, down.low, down.high) == pytest.approx((up.estimate, up.low, up.high))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
@settings(max_examples=100, deadline=None)
def test_a_monotone_curve_ascends_keeps_the_mean_and_changes_nothing_that_ascends(values: list[float]) -> None:
    found = monotone(np.array(values))
    assert (np.diff(found) >= -1e-12).all() and found.mean() == pytest.approx(np.mean(values), abs=1e-9)
    assert monotone(np.sort(values)) == pytest.approx(np.sort(values))
    assert monotone(found) == pytest.approx(found)


def test_a_curve_that_dips_is_read_as_if_it_did_not() -> None:
    means = [0.5, 0.8, 0.7]
    found = images_needed(SIZES, means, 0.74, 10, known(means, 0.74))
    assert found.reached and 10 < (found.estimate or 0) < 1000 and found.high is None


@pytest.mark.parametrize("sizes", [(10,), (0, 10), (10, 10), (100, 10)])
def test_sizes_ascend(sizes: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sizes"):
        area_weights(sizes)
