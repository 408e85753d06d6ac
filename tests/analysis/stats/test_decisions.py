from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.decisions import decide, equivalence_p
from analysis.stats.estimate import mean_over_seeds
from analysis.stats.multiplicity import adjust

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=7)


@settings(deadline=None)
@given(p=probabilities)
def test_holm_is_the_closed_test_of_bonferroni(p: list[float]) -> None:
    # A hypothesis is rejected when every intersection that contains it is rejected by Bonferroni.
    places = range(len(p))
    subsets = [subset for size in range(1, len(p) + 1) for subset in combinations(places, size)]
    expected = [max(min(1.0, len(s) * min(p[i] for i in s)) for s in subsets if place in s) for place in places]
    assert adjust(p) == pytest.approx(expected, abs=1e-12)


@given(p=probabilities, more=st.integers(0, 20))
def test_comparisons_that_were_declared_and_are_missing_still_count(p: list[float], more: int) -> None:
    full = adjust([*p, *[1.0] * more])[: len(p)]
    assert adjust(p, family=len(p) + more) == pytest.approx(full)


def test_corrections_against_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.beta(0.3, 1.0, size=rng.integers(1, 50)).round(rng.integers(2, 8))
        for name in ("holm", "bonferroni"):
            assert adjust(p, name) == pytest.approx(multitest.multipletests(p, method=name)[1], abs=1e-12)  # type: ignore[arg-type]


def test_a_family_smaller_than_its_tests_is_an_error() -> None:
    with pytest.raises(ValueError, match="a family of 1 cannot hold 2"):
        adjust([0.1, 0.2], family=1)
    assert adjust([]).shape == (0,)


@settings(deadline=None)
@given(
    values=st.lists(st.floats(-1, 1), min_size=3, max_size=20),
    margin=st.floats(0.01, 2),
    alpha=st.sampled_from([0.01, 0.05, 0.1]),
)
def test_equivalence_is_an_interval_inside_the_margin(values: list[float], margin: float, alpha: float) -> None:
    estimate = mean_over_seeds(np.array(values), confidence=1 - 2 * alpha)
    p = equivalence_p(estimate, margin)
    if estimate.low is None or estimate.high is None:
        assert p is None
        return
    inside = -margin < estimate.low and estimate.high < margin
    assert p is not None
    assert (p < alpha) == inside or p == pytest.approx(alpha, abs=1e-9)


def test_equivalence_is_the_larger_of_two_one_sided_tests() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        d = rng.normal(0.0, 0.3, size=rng.integers(3, 20))
        low = stats.ttest_1samp(d, -0.2, alternative="greater").pvalue
        high = stats.ttest_1samp(d, 0.2, alternative="less").pvalue
        assert equivalence_p(mean_over_seeds(d), 0.2) == pytest.approx(max(low, high), abs=1e-12)


def test_equivalence_against_statsmodels() -> None:
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    rng = np.random.default_rng(2)
    for _ in range(100):
        a, b = rng.normal(0.0, 0.3, size=(2, rng.integers(3, 20)))
        expected = weightstats.ttost_paired(a, b, -0.2, 0.2)[0]
        assert equivalence_p(mean_over_seeds(a - b), 0.2) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("difference", "p", "equivalence", "higher", "noise", "verdict", "codes"),
    [
        (0.03, 0.01, None, True, 0.0, "better", []),
        (-0.03, 0.01, None, True, 0.0, "worse", []),
        (0.03, 0.01, None, False, 0.0, "worse", []),
        (-0.03, 0.05, 0.9, False, 0.0, "better", []),
        (0.03, 0.06, None, True, 0.0, "inconclusive", []),
        (0.0, 1.0, None, True, 0.0, "inconclusive", []),
        (0.002, 0.4, 0.01, True, 0.0, "equivalent", []),
        (0.002, 0.01, 0.01, True, 0.0, "equivalent", ["within_margin"]),
        (0.03, 0.01, None, True, 0.03, "inconclusive", ["below_repeat_noise"]),
        (0.03, 0.01, None, True, 0.02, "better", []),
        (0.03, None, None, True, 0.0, "inconclusive", []),
    ],
)
def test_verdicts(
    difference: float,
    p: float | None,
    equivalence: float | None,
    higher: bool,
    noise: float,
    verdict: str,
    codes: list[str],
) -> None:
    decision = decide(difference, p, equivalence, higher_is_better=higher, repeat_noise=noise)
    assert decision.verdict == verdict
    assert [caution.code for caution in decision.cautions] == codes
