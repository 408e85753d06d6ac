from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from analysis.stats.across_datasets import bounded_mean, fixed_dataset_mean, population_mean, source_means
from analysis.stats.cautions import Refused
from analysis.stats.estimate import mean_over_seeds
from analysis.stats.ranks import (
    critical_difference,
    doubled_rank_table,
    friedman,
    friedman_of_ranks,
    nemenyi_p,
    nemenyi_q,
)
from analysis.stats.twoway import mean_squares
from analysis.stats.variances import MeanSquare, possible


def names(count: int) -> list[str]:
    return [f"dataset {place}" for place in range(count)]


def test_the_average_of_two_datasets_over_seeds_alone_is_welchs_test() -> None:
    # Half the difference of two means is the average of the first and of the second turned round.
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = rng.normal(0.3, 1.0, size=rng.integers(3, 15)), rng.normal(0.0, 4.0, size=rng.integers(3, 15))
        welch = stats.ttest_ind(x, y, equal_var=False)
        interval = welch.confidence_interval(0.95)

        found = fixed_dataset_mean([mean_over_seeds(x), mean_over_seeds(-y)])

        assert (found.df, found.p_value()) == pytest.approx((welch.df, welch.pvalue), rel=1e-3)
        assert (found.low, found.high) == pytest.approx((interval.low / 2, interval.high / 2), rel=1e-3)


def test_one_dataset_without_spread_leaves_the_average_without_interval() -> None:
    alone = mean_over_seeds(np.array([0.1, 0.2, 0.4]))
    single = fixed_dataset_mean([alone])
    assert (single.low, single.high, single.df) == pytest.approx((alone.low, alone.high, alone.df))
    broken = fixed_dataset_mean([alone, mean_over_seeds(np.ones(3))])
    assert broken.low is None and broken.p_value() is None
    assert broken.estimate == pytest.approx((alone.estimate + 1) / 2)


def test_the_mean_within_a_source_has_a_bound_that_holds_whatever_they_share() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(0.1, 1.0, size=(2, 12))
    one, other = mean_over_seeds(x), mean_over_seeds(3 * x)
    together = mean_over_seeds(2 * x)
    found = bounded_mean([one, other])
    # Perfect dependence, where the bound is what is.
    assert (found.estimate, found.low, found.high) == pytest.approx((together.estimate, together.low, together.high))
    independent = fixed_dataset_mean([one, mean_over_seeds(y)])
    bounded = bounded_mean([one, mean_over_seeds(y)])
    assert independent.standard_error is not None and bounded.standard_error is not None
    assert independent.standard_error < bounded.standard_error
    assert bounded_mean([one, mean_over_seeds(np.ones(3))]).low is None
    assert source_means([1.0, 2.0, 5.0], ["a", "b", "a"]).tolist() == [3.0, 2.0]


def test_a_claim_about_new_datasets_needs_six_and_is_flagged_below_ten() -> None:
    values = np.random.default_rng(1).normal(0.02, 0.01, size=10)
    with pytest.raises(Refused, match="5 datasets cannot speak for datasets that were not tried"):
        population_mean(values[:5])
    with pytest.raises(Refused):
        friedman(np.random.default_rng(1).random((5, 4)), names(5))
    with pytest.raises(Refused):
        critical_difference(4, 3)
    assert [c.code for c in population_mean(values[:6]).cautions] == ["few_datasets"]
    ten = population_mean(values)
    assert ten.cautions == ()
    assert ten.p_value() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_seeds_are_no_datasets() -> None:
    rows = [*names(5), "dataset 0"]
    with pytest.raises(Refused, match=r"dataset 0.*seeds are not datasets"):
        friedman(np.random.default_rng(2).random((6, 3)), rows)


def test_friedman_on_a_hundred_random_tables_against_scipy() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        table = rng.random((rng.integers(6, 15), rng.integers(3, 9))).round(int(rng.integers(1, 4)))
        expected = stats.friedmanchisquare(*table.T)
        result = friedman(table, names(len(table)), higher_is_better=bool(rng.integers(2)))
        assert (result.chi2, result.p_chi2) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-9)


def test_f_is_that_of_an_analysis_of_variance_of_the_ranks() -> None:
    ranks = doubled_rank_table(np.random.default_rng(7).random((9, 5)).round(1))
    squares = mean_squares(ranks.T.astype(np.float64))
    result = friedman_of_ranks(ranks)
    assert result.f == pytest.approx(squares.seed / squares.residual)
    assert result.p_f == pytest.approx(stats.f.sf(result.f, 4, 32))


@pytest.mark.parametrize(("datasets", "methods", "digits"), [(3, 3, 6), (4, 3, 1), (6, 3, 1), (3, 4, 1)])
def test_the_exact_p_value_counts_every_order(datasets: int, methods: int, digits: int) -> None:
    ranks = doubled_rank_table(np.random.default_rng(4).random((datasets, methods)).round(digits))
    observed = np.square(ranks.sum(axis=0)).sum()
    counts = [
        np.square(np.sum(orders, axis=0)).sum() >= observed
        for orders in product(*[list(permutations(row)) for row in ranks.tolist()])
    ]
    assert friedman_of_ranks(ranks).p_exact == pytest.approx(np.mean(counts), abs=1e-12)


def test_three_datasets_that_agree_are_less_than_the_chi_square_says() -> None:
    agreed = friedman_of_ranks(np.array([[2, 4, 6]] * 3))
    assert agreed.p == agreed.p_exact == pytest.approx(1 / 36)
    assert agreed.p_chi2 == pytest.approx(0.0498, abs=5e-5)
    assert math.isinf(agreed.f)


def test_nemenyi_against_the_studentized_range() -> None:
    for methods in (2, 5, 10):
        assert nemenyi_q(methods, 0.1) * math.sqrt(2) == pytest.approx(
            stats.studentized_range.ppf(0.9, methods, np.inf), abs=1e-6
        )
    table = np.random.default_rng(5).random((8, 5))
    result = friedman(table, names(8))
    p = nemenyi_p(result.mean_ranks, 8)
    gap = np.abs(np.subtract.outer(result.mean_ranks, result.mean_ranks)) / math.sqrt(5 * 6 / 48)
    assert p == pytest.approx(stats.studentized_range.sf(gap * math.sqrt(2), 5, np.inf), abs=1e-7)
    # A gap of exactly the critical difference has p = alpha.
    ranks = [1.0, 1.0 + critical_difference(5, 8)]
    assert nemenyi_p([*ranks, 3.0, 3.0, 3.0], 8)[0, 1] == pytest.approx(0.05, abs=1e-9)


def test_nemenyi_against_scikit_posthocs() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    rng = np.random.default_rng(6)
    for _ in range(20):
        table = rng.random((rng.integers(6, 15), rng.integers(3, 9)))
        result = friedman(table, names(len(table)))
        expected = posthocs.posthoc_nemenyi_friedman(table).to_numpy()
        assert nemenyi_p(result.mean_ranks, len(table)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "five", "one"),
    [(6, 6, 2.435, 3.514), (8, 8, 2.292, 3.206), (12, 12, 2.167, 2.954), (24, 24, 2.056, 2.747)],
)
def test_percentage_points_are_those_of_fisher_and_yates(first: int, second: int, five: float, one: float) -> None:
    """Statistical Tables for Biological, Agricultural and Medical Research: Behrens' distribution at 45°."""
    both = possible(MeanSquare(0.5, first), MeanSquare(0.5, second))

    assert (both.distance(0.025), both.distance(0.005)) == pytest.approx((five, one), abs=1.5e-3)
