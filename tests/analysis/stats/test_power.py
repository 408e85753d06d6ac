from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats.estimate import FloatArray, mean_over_seeds
from analysis.stats.power import (
    detectable_difference,
    detectable_dz,
    detectable_noncentrality,
    plan_two_way,
    power_of_t,
    power_over_seeds,
    power_two_way,
    seeds_needed,
)
from analysis.stats.twoway import Components, two_way
from analysis.stats.variance import split_variance


def test_power_is_that_of_the_noncentral_t_where_scipy_has_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        df, alpha, away = rng.uniform(1, 60), 10 ** rng.uniform(-3, -1), rng.uniform(0, 6)
        critical = stats.t.isf(alpha / 2, df)
        # The far side's share is below what matters, and scipy has no value for it at large noncentralities.
        expected = stats.nct.sf(critical, df, away) + np.nan_to_num(stats.nct.cdf(-critical, df, away))
        assert power_of_t(away, df, alpha) == pytest.approx(expected, abs=1e-7)


def test_power_against_statsmodels() -> None:
    power = pytest.importorskip("statsmodels.stats.power")
    rng = np.random.default_rng(1)
    for _ in range(100):
        n, d = int(rng.integers(3, 40)), rng.uniform(0.1, 1.5)
        assert power_over_seeds(d, n) == pytest.approx(power.TTestPower().power(d, n, 0.05), abs=1e-7)


def test_large_noncentralities_of_corrected_tests_are_answered() -> None:
    # Power of a t test with 2 degrees of freedom by counting 2,000,000 of them.
    rng = np.random.default_rng(2)
    away, alpha = detectable_noncentrality(2, 0.05 / 45), 0.05 / 45
    t = (rng.normal(size=2_000_000) + away) / np.sqrt(rng.chisquare(2, size=2_000_000) / 2)
    assert np.mean(np.abs(t) > stats.t.isf(alpha / 2, 2)) == pytest.approx(0.8, abs=2e-3)


@pytest.mark.parametrize(("n", "detected"), [(5, [1.68, 3.07, 3.51, 4.65]), (20, [0.66, 0.90, 0.95, 1.07])])
def test_what_corrected_tests_detect(n: int, detected: list[float]) -> None:
    assert [round(detectable_dz(n, 0.05 / family), 2) for family in (1, 9, 15, 45)] == detected


def test_seeds_needed_are_the_fewest_that_do() -> None:
    for d_z in (0.3, 0.66, 1.0, 2.5):
        seeds = seeds_needed(d_z, alpha=0.05 / 15)
        assert seeds is not None
        assert power_over_seeds(d_z, seeds, 0.05 / 15) >= 0.8 > power_over_seeds(d_z, seeds - 1, 0.05 / 15)
    assert seeds_needed(0.01) is None


def test_the_detectable_difference_of_an_estimate_is_d_z_in_units_of_the_metric() -> None:
    values = np.random.default_rng(3).normal(0.0, 0.02, size=8)
    found = detectable_difference(mean_over_seeds(values), 0.05 / 9)
    assert found == pytest.approx(detectable_dz(8, 0.05 / 9) * values.std(ddof=1))
    assert detectable_difference(mean_over_seeds(np.ones(8))) is None


def test_a_two_way_estimate_is_asked_what_its_own_p_value_detects() -> None:
    rng = np.random.default_rng(5)

    def table(difference: float) -> FloatArray:
        noise = 0.3 * rng.normal(size=(5, 100))
        return np.asarray(difference + 0.05 * rng.normal(size=(5, 1)) + 0.3 * rng.normal(size=(1, 100)) + noise)

    alpha, truth = 0.05 / 15, Components(seed=0.05**2, case=0.3**2, interaction=0.3**2)
    planned = plan_two_way(truth, 5, 100, alpha).detectable
    found = np.mean([(two_way(table(planned)).p_value() or 0.0) <= alpha for _ in range(1500)])
    assert found == pytest.approx(0.8, abs=0.04)
    assert power_two_way(truth, 5, 100, planned, alpha) == pytest.approx(0.8)
    # Satterthwaite's t would promise the same for less.
    assert planned > 1.02 * detectable_noncentrality(plan_two_way(truth, 5, 100).df, alpha) * math.sqrt(
        truth.variance_of_mean(5, 100)
    )
    estimate = two_way(table(0.0))
    assert detectable_difference(estimate, alpha) == plan_two_way(estimate.components, 5, 100, alpha).detectable


def test_more_seeds_do_not_lower_what_the_cases_leave_open() -> None:
    components = Components(seed=0.02**2, case=0.3**2, interaction=0.3**2)
    plans = [plan_two_way(components, seeds, 500) for seeds in (5, 20, 1000)]
    assert plans[0].detectable > plans[1].detectable > plans[2].detectable
    least = 0.3 / math.sqrt(500)
    assert plans[2].standard_error == pytest.approx(least, rel=0.01)
    split = split_variance(components, 1000, 500)
    assert split.standard_error_with_endless_seeds == pytest.approx(least)
    assert split.case_share > 0.98
    # One seed's variance 0.0004, the cases' 0.00018, the rest's 0.00018.
    single = split_variance(components, 1, 500)
    assert (single.seed_share, single.case_share, single.interaction_share) == pytest.approx(
        (0.0004 / 0.00076, 0.00018 / 0.00076, 0.00018 / 0.00076)
    )
    with pytest.raises(ValueError, match="nothing to split"):
        split_variance(Components(-1.0, 0.0, -0.1), 5, 5)
