from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.budget_curve import budget_curve


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
