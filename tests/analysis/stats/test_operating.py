"""Curves over all thresholds: areas are known metrics, places are counted by hand, and bands are Student's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from analysis.stats.operating import (
    PLACES,
    THRESHOLDS,
    band,
    net_benefit,
    precision_recall,
    roc,
    treat_all,
)

Scores = npt.NDArray[np.float64]


def drawn(seed: int, cases: int, levels: int) -> tuple[Scores, npt.NDArray[np.bool_]]:
    """Scores with ties that tell something of the class, and at least one case of each class."""
    rng = np.random.default_rng(seed)
    positive = rng.random(cases) < 0.3
    positive[:2] = True, False
    raw = rng.normal(positive * 1.0, 1.0)
    return np.round((1 / (1 + np.exp(-raw))) * levels) / levels, positive


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), cases=st.integers(2, 400), levels=st.sampled_from([1, 3, 20, 10_000]))
def test_the_area_below_is_the_auc_up_to_the_width_of_a_place(seed: int, cases: int, levels: int) -> None:
    score, positive = drawn(seed, cases, levels)
    curve = roc(score, positive)
    assert curve is not None
    assert (np.diff(curve) >= -1e-12).all() and curve[-1] == 1
    area = float(np.trapezoid(curve, PLACES))
    # Between two places a curve that rises is between its values there.
    assert abs(area - roc_auc_score(positive, score)) <= float(np.diff(curve).sum()) * (PLACES[1] - PLACES[0]) + 1e-9


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), cases=st.integers(2, 400), levels=st.sampled_from([1, 3, 20, 10_000]))
def test_precision_is_that_of_the_first_threshold_that_reaches_the_recall(seed: int, cases: int, levels: int) -> None:
    score, positive = drawn(seed, cases, levels)
    curve = precision_recall(score, positive)
    assert curve is not None
    for place, found in zip(PLACES[1:], curve[1:], strict=True):
        reaching = [t for t in np.unique(score) if (score[positive] >= t).mean() >= place - 1e-9]
        assert found == pytest.approx(positive[score >= max(reaching)].mean())
    # Steps at each recall that some threshold reaches have the area of the average precision.
    fine = np.unique([(score[positive] >= t).mean() for t in np.unique(score)])
    steps = [positive[score >= max(t for t in score if (score[positive] >= t).mean() >= r - 1e-9)].mean() for r in fine]
    area = float(np.diff(fine, prepend=0.0) @ steps)
    assert area == pytest.approx(average_precision_score(positive, score), abs=1e-9)


def test_net_benefit_by_hand() -> None:
    probability = np.array([0.9, 0.6, 0.4, 0.2])
    positive = np.array([True, False, True, False])
    found = net_benefit(probability, positive)
    for threshold, hits, alarms in ((0.0, 2, 2), (0.3, 2, 1), (0.5, 1, 1), (0.7, 1, 0), (0.95, 0, 0)):
        place = int(np.argmin(np.abs(THRESHOLDS - threshold)))
        assert found[place] == pytest.approx(hits / 4 - alarms / 4 * threshold / (1 - threshold))
    assert net_benefit(np.ones(4), positive) == pytest.approx(treat_all(0.5))
    assert net_benefit(np.zeros(4), positive)[1:] == pytest.approx(0.0)


def test_without_both_classes_there_is_no_curve() -> None:
    for positive in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool)):
        assert roc(np.arange(3.0), positive) is None
        assert precision_recall(np.arange(3.0), positive) is None


def test_the_band_is_students_at_each_place_and_wider_where_splits_overlap() -> None:
    curves = np.random.default_rng(0).normal(0.8, 0.05, (5, 7))
    own = band(curves, ["one"] * 5, 0.0)
    assert own.low is not None and own.high is not None
    for place in range(7):
        low, high = stats.t.interval(0.95, 4, curves[:, place].mean(), stats.sem(curves[:, place]))
        assert (own.low[place], own.high[place]) == pytest.approx((low, high))
    over = band(curves, list("abcde"), 0.25)
    assert over.low is not None and over.high is not None
    assert (over.high - over.low > own.high - own.low).all()
    assert band(curves[:1], ["one"], 0.0).low is None
    same = band(np.ones((3, 7)), ["one"] * 3, 0.0)
    assert same.low is not None and (same.low == 1).all()
