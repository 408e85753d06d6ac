from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.bootstrap import (
    crossed_interval,
    crossed_resamples,
    seed_percentile_interval,
    weighted_calibration_error,
    weighted_confusion_metric,
    weighted_mean,
)
from analysis.stats.budget_curve import budget_curve
from analysis.stats.cautions import Refused
from analysis.stats.estimate import FloatArray, mean_over_seeds
from harness.metrics.cases import softmax
from harness.metrics.table import evaluate


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), classes=st.integers(2, 4), copies=st.integers(1, 4))
def test_a_case_drawn_twice_counts_as_two_cases(seed: int, classes: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 20)])
    logits = rng.normal(size=(3, len(labels), classes)) + np.eye(classes)[labels]
    weights = rng.integers(0, copies + 1, len(labels))
    weights[:classes] = 1
    repeated = np.repeat(np.arange(len(labels)), weights)
    expected = [evaluate(row[repeated], labels[repeated]) for row in logits]
    proba = np.stack([softmax(row) for row in logits])
    predicted = proba.argmax(axis=2)
    metrics = {
        "macro_f1": weighted_confusion_metric(predicted, labels, classes, "macro_f1"),
        "mcc": weighted_confusion_metric(predicted, labels, classes, "mcc"),
        "ece": weighted_calibration_error(proba.max(axis=2), predicted == labels),
        "nll": weighted_mean(-np.log(proba[:, np.arange(len(labels)), labels])),
        "brier": weighted_mean(np.square(proba - np.eye(classes)[labels]).sum(axis=2)),
    }
    for name, metric in metrics.items():
        found = metric(weights[None].astype(np.float64))
        assert found[0] == pytest.approx([row[name] for row in expected], abs=1e-12), name


def test_the_resamples_of_a_mean_have_the_variance_that_theory_gives() -> None:
    rng = np.random.default_rng(1)
    seeds, cases = 8, 60
    table = rng.normal(size=(seeds, 1)) + rng.normal(size=(1, cases)) + rng.normal(size=(seeds, cases))
    drawn = crossed_resamples(weighted_mean(table), seeds, cases, resamples=40_000)
    # Both draws are independent: the variance is that of E over one of them, of the other, and of their product.
    rows, columns = table.mean(axis=1).var(), table.mean(axis=0).var()
    both = (table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()).var()
    expected = rows / seeds + columns / cases + both / (seeds * cases)

    assert drawn[0] == pytest.approx(table.mean())
    assert drawn[1:].var() == pytest.approx(expected, rel=0.04)


def test_two_methods_share_their_resamples() -> None:
    table = np.random.default_rng(2).normal(size=(6, 50))
    first = crossed_resamples(weighted_mean(table + 0.25), 6, 50, resamples=500, rng_seed=3)
    second = crossed_resamples(weighted_mean(table), 6, 50, resamples=500, rng_seed=3)
    other = crossed_resamples(weighted_mean(table), 6, 50, resamples=500, rng_seed=4)

    paired, unpaired = crossed_interval(first, second, 6), crossed_interval(first, other, 6)

    assert paired.estimate == pytest.approx(0.25)
    assert (paired.low, paired.p_value()) == (None, None)
    assert [caution.code for caution in paired.cautions] == ["conservative_bootstrap", "zero_variance"]
    assert unpaired.standard_error is not None and unpaired.standard_error > 0.1


def test_where_only_the_seeds_differ_the_interval_is_students() -> None:
    values = np.random.default_rng(9).normal(size=5)
    table = np.tile(values[:, None], (1, 30))
    drawn = crossed_resamples(weighted_mean(table), 5, 30, resamples=60_000)
    found, expected = crossed_interval(drawn, np.zeros_like(drawn), 5), mean_over_seeds(values)
    assert found.df == 4
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=0.02)


def test_whole_groups_are_drawn() -> None:
    table = np.random.default_rng(5).normal(size=(6, 30))
    copies = np.repeat(np.arange(30), 4)
    once = crossed_resamples(weighted_mean(table), 6, 30, resamples=300)
    grouped = crossed_resamples(weighted_mean(table[:, copies]), 6, 120, groups=copies, resamples=300)
    alone = crossed_resamples(weighted_mean(table[:, copies]), 6, 120, resamples=3000)
    # Chunks differ with the number of cases, yet 300 resamples fit into one.
    assert grouped == pytest.approx(once, abs=1e-12)
    assert alone.std() < once.std()


def test_a_class_that_drops_out_of_the_resamples_is_said_and_then_refused() -> None:
    def interval(rare: int) -> list[str]:
        labels = np.array([0] * 40 + [1] * rare)
        predicted = np.tile(labels, (3, 1))
        predicted[:, ::3] = 0
        metric = weighted_confusion_metric(predicted, labels, 2, "macro_f1")
        drawn = crossed_resamples(metric, 3, len(labels), resamples=2000)
        return [caution.code for caution in crossed_interval(drawn, np.zeros_like(drawn), 3).cautions]

    # A class of k among 40 + k cases is missed with probability near exp(-k): 0.13, 0.018, below 1e-8.
    with pytest.raises(Refused, match="a class had no case"):
        interval(2)
    assert interval(4) == ["conservative_bootstrap", "undefined_resamples"]
    assert interval(20) == ["conservative_bootstrap"]


def test_a_seed_without_a_value_spoils_only_the_resamples_that_drew_it() -> None:
    def metric(weights: FloatArray) -> FloatArray:
        return np.tile([np.nan, 1.0, 2.0, 3.0], (len(weights), 1))

    drawn = crossed_resamples(metric, 4, 10, resamples=20_000)[1:]
    assert np.isnan(drawn).mean() == pytest.approx(1 - 0.75**4, abs=0.015)
    assert np.nanmean(drawn) == pytest.approx(2.0, abs=0.02)


def test_percentiles_over_twenty_seeds_and_not_over_nineteen() -> None:
    values = np.random.default_rng(6).normal(0.8, 0.02, size=20)
    error = values.std() / np.sqrt(20)
    assert seed_percentile_interval(values) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.15 * error
    )
    with pytest.raises(Refused, match="19 seeds gives an interval that is too narrow"):
        seed_percentile_interval(values[:19])


@settings(deadline=None)
@given(scores=st.lists(st.integers(-3, 9), min_size=1, max_size=9), higher=st.booleans())
def test_the_expected_best_is_the_mean_over_all_draws(scores: list[int], higher: bool) -> None:
    from itertools import combinations, product

    best = max if higher else min
    curve = budget_curve(scores, higher_is_better=higher)
    for m in range(1, len(scores) + 1):
        draws = [best(chosen) for chosen in combinations(scores, m)]
        assert curve.expected[m - 1] == pytest.approx(np.mean(draws), abs=1e-9)
        if m <= 4:
            again = [best(chosen) for chosen in product(scores, repeat=m)]
            assert curve.expected_with_replacement[m - 1] == pytest.approx(np.mean(again), abs=1e-9)
    assert (curve.low <= curve.high).all()
    mirrored = budget_curve([-score for score in scores], higher_is_better=not higher)
    assert (mirrored.low.tolist(), mirrored.high.tolist()) == ((-curve.high).tolist(), (-curve.low).tolist())


def test_the_interval_of_the_median_best_score_covers_it() -> None:
    # For uniform scores the median best of m is 0.5 ** (1 / m).
    rng = np.random.default_rng(7)
    truth = 0.5 ** (1 / np.arange(1, 31))
    curves = [budget_curve(rng.random(30)) for _ in range(3000)]
    covered = np.mean([(curve.low <= truth) & (truth <= curve.high) for curve in curves], axis=0)
    assert (covered >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 3000)).all()
    # It is not bought with width: half of the scores lie outside at m = 1.
    assert np.mean([curve.high[0] - curve.low[0] for curve in curves]) < 0.4
    assert np.isinf(curves[0].high[-1])
