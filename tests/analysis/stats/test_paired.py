from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.cautions import Refused
from analysis.stats.effects import hedges_correction, paired_effects
from analysis.stats.estimate import paired_differences
from analysis.stats.paired import sign_flip, wilcoxon

coarse = st.lists(st.integers(-4, 4), min_size=6, max_size=10)


@settings(deadline=None, max_examples=60)
@given(values=coarse, scale=st.sampled_from([1.0, 0.1, 0.003]))
def test_both_tests_count_every_pattern_of_signs(values: list[int], scale: float) -> None:
    # Whole numbers make many ties; scaled by 0.1 those ties survive only up to rounding.
    d = np.array(values, dtype=np.float64)
    signs = np.array(list(product([-1, 1], repeat=len(d))))
    flipped = np.mean(np.abs(signs @ d) >= abs(d.sum()))
    used = d[d != 0]
    ranks = stats.rankdata(np.abs(used))
    patterns = np.array(list(product([0, 1], repeat=len(used)))) @ ranks
    smaller = min(ranks[used > 0].sum(), ranks[used < 0].sum())

    assert sign_flip(scale * d).p == pytest.approx(flipped, abs=1e-12)
    found = wilcoxon(scale * d)
    assert found.statistic == smaller
    assert found.p == pytest.approx(min(1.0, 2 * np.mean(patterns <= smaller)), abs=1e-12)
    assert found.zeros == len(d) - len(used) and found.floor == (2.0 ** (1 - len(used)) if len(used) else 1.0)


def test_differences_that_are_equal_on_paper_are_ties() -> None:
    # Each is 0.1, and no two of the first four are the same number in binary.
    d = [0.3 - 0.2, 0.4 - 0.3, 0.8 - 0.7, -(0.7 - 0.6), 0.25, 0.35]
    assert len({abs(value) for value in d[:4]}) > 1
    exact = [0.1, 0.1, 0.1, -0.1, 0.25, 0.35]
    assert (wilcoxon(d).p, wilcoxon(d).statistic, sign_flip(d).p) == (
        wilcoxon(exact).p,
        wilcoxon(exact).statistic,
        sign_flip(exact).p,
    )


def test_a_hundred_random_inputs_against_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        d = rng.normal(0.3, 1.0, size=rng.integers(6, 26))
        expected = stats.wilcoxon(d, method="exact")
        result = wilcoxon(d)
        assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)
        if len(d) <= 10:
            exact = stats.permutation_test(
                (d,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
            )
            assert sign_flip(d).p == pytest.approx(exact.pvalue, abs=1e-12)


def test_forty_seeds_are_still_exact_in_passing_time() -> None:
    d = np.random.default_rng(1).normal(0.4, 1.0, 40)
    # With so many seeds the exact test and Student's agree.
    assert sign_flip(d).p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, rel=0.15)


def test_above_forty_seeds_wilcoxon_stays_exact() -> None:
    rng = np.random.default_rng(3)
    for pairs in (41, 60, 200):
        d = rng.normal(0.2, 1.0, pairs)
        expected = stats.wilcoxon(d, method="exact")
        found = wilcoxon(d)
        assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
        assert found.patterns is None
    # 2 ** 1000 sign patterns: the smallest p value is exact to the last digit, and ties are counted as they are.
    assert wilcoxon(np.arange(1.0, 1001.0)).p == pytest.approx(2.0**-999, rel=1e-12)
    assert wilcoxon(np.ones(1000)).p == pytest.approx(2.0**-999, rel=1e-12)


def test_above_forty_seeds_sign_flips_are_counted_over_random_patterns() -> None:
    rng = np.random.default_rng(5)
    for scale in (0.0, 0.2, 0.4):
        d = rng.normal(scale, 1.0, 60)
        found = sign_flip(d)
        # A t test of sixty values knows the answer to a few per cent, the patterns to 1 in 100,000.
        assert found.p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.006)
        assert found.patterns == 99_999 and found.floor == 1e-5
        assert sign_flip(d) == found and sign_flip(1000 * d).p == found.p and sign_flip(-d).p == found.p
    assert sign_flip(np.ones(41)).p == 1e-5
    assert sign_flip(np.zeros(41)).p == 1.0


def test_the_random_patterns_agree_with_all_of_them() -> None:
    # Forty whole numbers: every sum can be counted, by the test itself; a forty-first of zero changes nothing.
    d = np.random.default_rng(6).integers(-9, 12, 40).astype(np.float64)
    exact, counted = sign_flip(d), sign_flip([*d, 0.0])
    assert (exact.patterns, counted.patterns) == (None, 99_999)
    assert counted.p == pytest.approx(exact.p, abs=4 * math.sqrt(exact.p / 99_999))


def test_above_a_thousand_seeds_both_tests_are_refused_for_their_time() -> None:
    for test in (sign_flip, wilcoxon):
        with pytest.raises(ValueError, match="too long"):
            test(np.ones(1001))


@pytest.mark.parametrize("test", [sign_flip, wilcoxon])
def test_five_seeds_are_refused_with_their_floor(test: object) -> None:
    with pytest.raises(Refused, match=r"0\.0625.*at least 6 seeds"):
        test([1.0, 2.0, 3.0, 4.0, 5.0])  # type: ignore[operator]


def test_ties_are_said() -> None:
    assert [c.code for c in wilcoxon([0.1, 0.1, 0.2, 0.3, 0.4, 0.5]).cautions] == ["many_ties"]
    assert wilcoxon([0.1, -0.15, 0.2, 0.3, 0.4, 0.5]).cautions == ()


def test_effects_of_a_small_example() -> None:
    # Differences 2, 0, 1, -1: mean 0.5, standard deviation sqrt(5 / 3); ranks of |2|, |1|, |-1| are 3, 1.5, 1.5.
    effects = paired_effects([3, 1, 2, 0], [1, 1, 1, 1])
    assert effects.mean_difference == 0.5
    # Γ(1.5) / (sqrt(1.5) Γ(1)) = sqrt(π) / 2 / sqrt(1.5)
    assert effects.d_z == pytest.approx(0.5 / math.sqrt(5 / 3))
    assert effects.g_z == pytest.approx(0.5 / math.sqrt(5 / 3) * math.sqrt(math.pi) / 2 / math.sqrt(1.5))
    assert effects.probability_larger == 2.5 / 4
    assert effects.rank_biserial == (4.5 - 1.5) / 6


@given(
    a=st.lists(st.integers(-5, 5), min_size=2, max_size=12),
    data=st.data(),
)
def test_effects_change_sign_when_the_methods_change_places(a: list[int], data: st.DataObject) -> None:
    b = data.draw(st.lists(st.integers(-5, 5), min_size=len(a), max_size=len(a)))
    one, other = paired_effects(a, b), paired_effects(b, a)
    assert one.mean_difference == -other.mean_difference
    assert one.rank_biserial == -other.rank_biserial
    assert one.probability_larger == pytest.approx(1 - other.probability_larger)
    assert (one.d_z is None) == (one.g_z is None) == (len(a) == 2 or len(set(np.subtract(a, b).tolist())) == 1)
    assert one.d_z is None or one.d_z == pytest.approx(-(other.d_z or 0.0))


def test_two_seeds_have_no_standardised_difference() -> None:
    assert (paired_effects([0.9, 0.8], [0.5, 0.6]).d_z, paired_effects([0.9, 0.8], [0.5, 0.6]).g_z) == (None, None)


def test_differences_that_are_equal_on_paper_have_no_spread() -> None:
    a, b = [0.85, 0.75, 0.95], [0.80, 0.70, 0.90]
    assert len(set(np.subtract(a, b).tolist())) > 1
    assert paired_effects(a, b).d_z is None
    assert np.ptp(paired_differences(a, b)) == 0 and paired_differences(a, b)[0] == pytest.approx(0.05)
    # A metric of another size keeps differences that are its own.
    assert np.ptp(paired_differences([1e-20, 2e-20], [0.0, 0.0])) > 0


def test_hedges_correction_removes_the_bias_of_a_standardised_mean() -> None:
    rng = np.random.default_rng(2)
    samples = rng.normal(0.8, 1.0, size=(200_000, 6))
    d = samples.mean(axis=1) / samples.std(axis=1, ddof=1)
    error = d.std() / math.sqrt(len(d))
    assert abs(d.mean() * hedges_correction(5) - 0.8) < 4 * error < abs(d.mean() - 0.8)
    with pytest.raises(ValueError, match="no expectation"):
        hedges_correction(1)
