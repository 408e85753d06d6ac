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
    with pytest.raises(ValueError, match="too long"):
        sign_flip(np.ones(41))


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
    assert effects.d_z == pytest.approx(0.5 / math.sqrt(5 / 3) * math.sqrt(math.pi) / 2 / math.sqrt(1.5))
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
    assert (one.d_z is None) == (len(set(np.subtract(a, b).tolist())) == 1)
    assert one.d_z is None or one.d_z == pytest.approx(-(other.d_z or 0.0))


def test_hedges_correction_removes_the_bias_of_a_standardised_mean() -> None:
    rng = np.random.default_rng(2)
    samples = rng.normal(0.8, 1.0, size=(200_000, 6))
    d = samples.mean(axis=1) / samples.std(axis=1, ddof=1)
    error = d.std() / math.sqrt(len(d))
    assert abs(d.mean() * hedges_correction(5) - 0.8) < 4 * error < abs(d.mean() - 0.8)
    assert hedges_correction(1) == 0.0
