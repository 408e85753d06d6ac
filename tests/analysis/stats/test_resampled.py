"""Means over replicates on several splits: closed forms, a mixed model, textbook mean squares, level by simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.across_datasets import fixed_dataset_mean
from analysis.stats.estimate import mean_over_seeds
from analysis.stats.power import detectable_difference
from analysis.stats.resampled import mean_over_searches, mean_over_splits, mean_within_splits

OVERLAP = 0.2 / 0.64
LISTS = st.lists(st.floats(-1, 1).map(lambda value: round(value, 4)), min_size=2, max_size=12)


def nested(sizes: list[int], between: float, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    splits = [split for split, size in enumerate(sizes) for _ in range(size)]
    return between * rng.normal(size=len(sizes))[splits] + rng.normal(size=len(splits)), splits


@given(LISTS, st.floats(0, 2))
def test_one_replicate_a_split_is_nadeau_and_bengio(values: list[float], overlap: float) -> None:
    x = np.array(values)
    found = mean_over_splits(x, range(len(x)), overlap)
    assert found.estimate == pytest.approx(x.mean(), abs=1e-15)
    if np.ptp(x) == 0:
        assert found.standard_error is None and found.p_value() is None
        return
    error = math.sqrt((1 / len(x) + overlap) * x.var(ddof=1))
    assert (found.standard_error, found.df) == pytest.approx((error, len(x) - 1), rel=1e-9)
    expected = 2 * stats.t.sf(abs(x.mean()) / error, len(x) - 1)
    assert found.p_value() == pytest.approx(expected, rel=1e-9)
    assert found.high == pytest.approx(x.mean() + stats.t.ppf(0.975, len(x) - 1) * error, rel=1e-9, abs=1e-12)
    assert mean_within_splits(x, range(len(x))) is None


def test_without_overlap_and_one_replicate_a_split_it_is_the_t_test() -> None:
    x = np.random.default_rng(0).normal(0.3, 1, size=7)
    found, plain = mean_over_splits(x, range(7), 0.0), mean_over_seeds(x)
    assert found.p_value() == pytest.approx(stats.ttest_1samp(x, 0).pvalue)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))


@given(st.integers(2, 6), st.integers(2, 4), st.floats(0, 3), st.floats(0, 1), st.integers(0, 99))
def test_equal_numbers_give_the_variance_of_split_means_less_the_share_of_trainings(
    splits: int, each: int, between: float, overlap: float, seed: int
) -> None:
    values, of = nested([each] * splits, between, np.random.default_rng(seed))
    table = values.reshape(splits, each)
    of_means, within = table.mean(axis=1).var(ddof=1), table.var(axis=1, ddof=1).mean()
    variance = max(of_means / splits, (1 / splits + overlap) * of_means - overlap * within / each)
    found = mean_over_splits(values, of, overlap)
    assert found.standard_error == pytest.approx(math.sqrt(variance))
    assert found.df == splits - 1


def test_against_a_mixed_model_that_knows_nothing_of_overlap() -> None:
    mixed = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    values, of = nested([3] * 8, 1.5, np.random.default_rng(4))
    fitted = mixed.MixedLM(values, np.ones((24, 1)), groups=of).fit(reml=True)
    found = mean_over_splits(values, of, 0.0)
    assert found.estimate == pytest.approx(float(fitted.fe_params[0]), abs=1e-6)
    assert found.standard_error == pytest.approx(float(fitted.bse_fe[0]), rel=1e-4)
    # What the overlap adds is the component between splits, r times.
    wider = mean_over_splits(values, of, OVERLAP)
    assert wider.standard_error is not None and found.standard_error is not None
    added = wider.standard_error**2 - found.standard_error**2
    assert added == pytest.approx(OVERLAP * float(fitted.cov_re[0, 0]), rel=1e-3)


def test_unequal_numbers_follow_the_one_way_analysis_of_variance() -> None:
    sizes = [4, 2, 1, 3]
    values, of = nested(sizes, 2.0, np.random.default_rng(1))
    parts = [values[np.array(of) == split] for split in range(4)]
    f = stats.f_oneway(*parts).statistic
    total, counts = len(values), np.array(sizes)
    within = sum(((part - part.mean()) ** 2).sum() for part in parts) / (total - 4)
    usual = (total - (counts**2).sum() / total) / 3
    component = (f * within - within) / usual
    uneven = ((counts / total) ** 2).sum()
    found = mean_over_splits(values, of, OVERLAP)
    assert component > 0
    assert found.standard_error == pytest.approx(math.sqrt(component * (OVERLAP + uneven) + within / total))
    assert found.estimate == pytest.approx(values.mean())
    narrow = mean_within_splits(values, of)
    assert narrow is not None
    assert (narrow.standard_error, narrow.df) == pytest.approx((math.sqrt(within / total), total - 4))


@given(st.permutations(range(9)), st.integers(0, 20))
def test_neither_order_nor_names_of_splits_matter(order: list[int], seed: int) -> None:
    values, of = nested([3, 1, 2, 3], 1.0, np.random.default_rng(seed))
    found = mean_over_splits(values, of, OVERLAP)
    again = mean_over_splits(values[order], [f"split {of[place]}" for place in order], OVERLAP)
    for name in ("estimate", "standard_error", "df", "low", "high"):
        assert getattr(again, name) == pytest.approx(getattr(found, name), rel=1e-9)


@given(st.integers(0, 40), st.floats(0.5, 0.99))
def test_the_interval_excludes_zero_exactly_where_p_is_below_its_level(seed: int, confidence: float) -> None:
    values, of = nested([2, 2, 3, 1, 2], 0.7, np.random.default_rng(seed))
    found = mean_over_splits(values + 0.8, of, OVERLAP, confidence)
    p = found.p_value()
    assert p is not None and found.low is not None and found.high is not None
    if abs(p - (1 - confidence)) > 1e-6:
        assert (found.low > 0 or found.high < 0) == (p < 1 - confidence)


def test_more_overlap_and_fewer_splits_mean_less_certainty() -> None:
    values, of = nested([2] * 6, 1.0, np.random.default_rng(2))
    errors = [mean_over_splits(values, of, overlap).standard_error for overlap in (0.0, 0.2, 0.5, 1.0)]
    assert errors == sorted(errors) and errors[0] < errors[-1]  # type: ignore[type-var, operator]


def test_split_means_that_agree_by_chance_are_taken_as_trainings_of_one_split() -> None:
    found = mean_over_splits(np.array([0.1, 0.3, 0.3, 0.1, 0.2, 0.2]), [0, 0, 1, 1, 2, 2], OVERLAP)
    assert found.standard_error == pytest.approx(math.sqrt(0.04 / 3 / 6)) and found.df == 2
    assert {caution.code for caution in found.cautions} == {"unusable_variance"}
    same = mean_over_splits(np.full(6, 0.1), [0, 0, 1, 1, 2, 2], OVERLAP)
    assert (same.standard_error, same.low) == (None, None)
    assert {caution.code for caution in same.cautions} == {"zero_variance"}


@pytest.mark.parametrize(
    ("values", "splits", "overlap", "why"),
    [
        ([0.1, 0.2], [0, 0], 0.3, "at least two splits"),
        ([0.1, 0.2], [0], 0.3, "a split for each"),
        ([0.1, math.nan], [0, 1], 0.3, "not finite"),
        ([0.1, 0.2], [0, 1], -0.1, "at least 0"),
    ],
)
def test_what_is_no_mean_over_splits_is_refused(
    values: list[float], splits: list[int], overlap: float, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        mean_over_splits(np.array(values), splits, overlap)


def rejected(sizes: list[int], between: float, sweeps: int, shift: float = 0.0) -> float:
    """Share of sweeps of equals (or ``shift`` apart) that are called different at .05, splits correlated as assumed."""
    rng = np.random.default_rng(7)
    common, own = OVERLAP / (1 + OVERLAP), 1 / (1 + OVERLAP)
    count = 0
    for _ in range(sweeps):
        values, of = nested(sizes, between * math.sqrt(own), rng)
        values += between * math.sqrt(common) * rng.normal() + shift
        p = mean_over_splits(values, of, OVERLAP).p_value()
        count += p is not None and p <= 0.05
    return count / sweeps


@pytest.mark.parametrize(
    ("sizes", "between"),
    [([1] * 5, 1.0), ([2] * 5, 1.0), ([2] * 5, 0.3), ([4] * 5, 1.0), ([4, 2, 2, 1, 1], 1.0), ([2] * 10, 0.6)],
)
def test_equals_are_called_different_in_5_of_100(sizes: list[int], between: float) -> None:
    # Two standard errors of 1,000 sweeps are .014; Student's t with K - 1 would give up to .09 here.
    assert rejected(sizes, between, 1000) <= 0.072


def test_what_is_called_detectable_is_found_in_80_of_100() -> None:
    # Between splits 10 and within 1: next to the variance between them, that of trainings hardly counts.
    error = math.sqrt((0.2 + OVERLAP) * 100 / (1 + OVERLAP) + 1 / 10)
    found = replace(mean_over_splits(np.arange(5.0), range(5), OVERLAP), standard_error=error)
    detectable = detectable_difference(found)
    assert detectable is not None
    for sizes in ([1] * 5, [2] * 5):
        assert 0.76 <= rejected(sizes, 10.0, 1000, detectable) <= 0.84


def test_searches_that_serve_several_splits_are_the_rows() -> None:
    values = np.random.default_rng(5).normal(size=6)
    splits, searches = list(range(6)), [0, 1, 2] * 2
    table = values.reshape(2, 3)
    of_searches, within = table.mean(axis=0).var(ddof=1) / 3, table.var(axis=0, ddof=1).mean()
    parts = np.array([of_searches, OVERLAP * within])
    found = mean_over_searches(values, splits, searches, OVERLAP)
    assert (found.estimate, found.standard_error) == pytest.approx((values.mean(), math.sqrt(parts.sum())))
    assert found.df == pytest.approx(parts.sum() ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3))
    # Splits that several searches share are shared by these, too.
    crossed = mean_over_searches(values, [0, 1, 2, 1, 2, 0], searches, OVERLAP)
    assert crossed.standard_error == pytest.approx(math.sqrt(of_searches + (OVERLAP + 1 / 3) * within))
    # However many replicates each search has, the estimate is the mean over replicates.
    uneven = mean_over_searches(values, splits, [0, 0, 0, 0, 1, 1], OVERLAP)
    assert uneven.estimate == pytest.approx(values.mean())
    assert mean_over_searches(np.full(6, 0.1), splits, searches, OVERLAP).p_value() is None
    for wrong in ([0] * 6, list(range(6))):
        with pytest.raises(ValueError, match="at least two searches, and one that serves several splits"):
            mean_over_searches(values, splits, wrong, OVERLAP)


@pytest.mark.parametrize(("splits", "searches", "between"), [(9, 3, 2.0), (9, 3, 0.5), (5, 3, 1.0), (10, 5, 1.0)])
def test_equals_whose_searches_serve_several_splits_are_called_different_in_5_of_100(
    splits: int, searches: int, between: float
) -> None:
    rng, count, sweeps, total = np.random.default_rng(9), 0, 1000, max(splits, 10)
    common, own = OVERLAP / (1 + OVERLAP), 1 / (1 + OVERLAP)
    split, search = [[place % number for place in range(total)] for number in (splits, searches)]
    for _ in range(sweeps):
        of_split = math.sqrt(common) * rng.normal() + math.sqrt(own) * rng.normal(size=splits)
        values = of_split[split] + between * rng.normal(size=searches)[search] + rng.normal(size=total)
        p = mean_over_searches(values, split, search, OVERLAP).p_value()
        count += p is not None and p <= 0.05
    assert count / sweeps <= 0.064


def test_averages_of_equals_are_called_different_in_no_more_than_5_of_100() -> None:
    rng, count, sweeps = np.random.default_rng(8), 0, 1000
    common, own = OVERLAP / (1 + OVERLAP), 1 / (1 + OVERLAP)
    for _ in range(sweeps):
        estimates = []
        for _ in range(3):
            values, of = nested([2] * 5, math.sqrt(own), rng)
            estimates.append(mean_over_splits(values + math.sqrt(common) * rng.normal(), of, OVERLAP))
        p = fixed_dataset_mean(estimates).p_value()
        count += p is not None and p <= 0.05
    assert count / sweeps <= 0.062


def test_averages_pool_it_with_other_intervals() -> None:
    values, of = nested([2] * 5, 1.0, np.random.default_rng(3))
    over_splits = mean_over_splits(values, of, OVERLAP)
    alone = mean_over_seeds(np.random.default_rng(4).normal(size=6))
    found = fixed_dataset_mean([over_splits, alone])
    assert over_splits.standard_error is not None and alone.standard_error is not None
    expected = math.sqrt(over_splits.standard_error**2 + alone.standard_error**2) / 2
    assert found.standard_error == pytest.approx(expected)
    assert found.parts() is not None and found.low is not None
