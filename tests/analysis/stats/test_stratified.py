"""The stratified bootstrap against its definition, resample by resample, and against other programs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, trim_mean

from analysis.stats import stratified
from analysis.stats.cautions import Refused
from analysis.stats.stratified import stratified_intervals

SCORES = np.random.default_rng(5).normal(0.8, 0.05, size=(3, 20, 4)) + np.linspace(0, 0.1, 4)


def test_estimates_are_those_of_scipy() -> None:
    found = stratified_intervals(SCORES, resamples=200)
    assert found["mean"].estimate == pytest.approx(SCORES.mean(axis=(1, 2)), abs=1e-12)
    trimmed = [trim_mean(own, 0.25, axis=None) for own in SCORES]
    assert found["interquartile_mean"].estimate == pytest.approx(trimmed, abs=1e-12)


def test_every_resample_is_the_metric_of_the_runs_it_drew() -> None:
    """Tied scores, and 23 x 3 of them, of which no whole number is a quarter."""
    scores = np.round(np.random.default_rng(1).normal(size=(2, 23, 3)), 1)
    flat = scores.transpose(0, 2, 1).reshape(2, 69)
    (counts,) = stratified._draws(np.random.default_rng(0), 23, 3, 40)
    # Within each dataset as many runs are drawn as there are.
    assert (counts.reshape(3, 23, 40).sum(axis=1) == 23).all()
    means, middles = stratified._means(flat, counts), stratified._interquartile_means(flat, counts)
    for method in range(2):
        for resample in range(40):
            drawn = np.sort(np.repeat(flat[method], counts[:, resample]))
            assert means[method, resample] == pytest.approx(drawn.mean(), abs=1e-12)
            # Each score in four equal parts: then a quarter is a whole number of parts.
            assert middles[method, resample] == pytest.approx(trim_mean(np.repeat(drawn, 4), 0.25), abs=1e-12)


def test_the_interval_of_one_dataset_is_the_ordinary_percentile_interval() -> None:
    one = SCORES[:, :, :1]
    found = stratified_intervals(one, ["mean"], resamples=20_000, rng_seed=3)["mean"]
    for method in range(3):
        known = bootstrap(
            (one[method, :, 0],), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(4)
        ).confidence_interval
        assert (found.low[method], found.high[method]) == pytest.approx((known.low, known.high), abs=1.5e-3)


def test_datasets_are_strata_and_not_drawn() -> None:
    """However far the datasets lie apart, the interval is as wide as the runs alone make it."""
    apart = SCORES + 100 * np.arange(4)
    near, far = (stratified_intervals(one, ["mean"], resamples=4000)["mean"] for one in (SCORES, apart))
    assert far.high - far.low == pytest.approx(near.high - near.low, abs=1e-9)


def test_blocks_change_nothing_but_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stratified_intervals(SCORES, resamples=5000)
    monkeypatch.setattr(stratified, "BLOCK", 80 * 700)
    parts = stratified_intervals(SCORES, resamples=5000)
    for name, one in whole.items():
        assert parts[name].estimate == pytest.approx(one.estimate)
        assert parts[name].low == pytest.approx(one.low, abs=2e-3)
        assert parts[name].high == pytest.approx(one.high, abs=2e-3)


def test_what_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(Refused):
        stratified_intervals(SCORES[:, :19])
    with pytest.raises(ValueError, match="no such aggregate 'median'"):
        stratified_intervals(SCORES, ["median"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="confidence"):
        stratified_intervals(SCORES, confidence=1.0)
    with pytest.raises(ValueError, match="finite"):
        stratified_intervals(np.full_like(SCORES, np.nan))
