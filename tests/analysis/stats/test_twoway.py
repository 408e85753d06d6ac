from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.decisions import decide
from analysis.stats.estimate import FloatArray
from analysis.stats.twoway import by_group, two_way
from harness.metrics.influence import area_values
from harness.metrics.repeated import RepeatedCases
from harness.metrics.table import built_in


def correctness(seed: int, seeds: int, cases: int) -> FloatArray:
    """Differences of correctness that share something among the cases, as real ones do."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(2, 1, cases)) + 0.4 * rng.normal(size=(2, seeds, 1)) + rng.normal(size=(2, seeds, cases))
    hits = (latent > -0.5).astype(np.float64)
    return np.asarray(hits[0] - hits[1])


tables = st.builds(correctness, st.integers(0, 2**32), st.integers(2, 8), st.integers(3, 40))


@settings(deadline=None)
@given(table=tables, shift=st.floats(-3, 3), scale=st.floats(0.1, 50), seed=st.integers(0, 99))
def test_the_interval_moves_with_the_data_and_ignores_their_order(
    table: FloatArray, shift: float, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shuffled = table[rng.permutation(len(table))][:, rng.permutation(table.shape[1])]

    before, after = two_way(table), two_way(scale * shuffled + shift)

    assert after.estimate == pytest.approx(scale * before.estimate + shift, abs=1e-9)
    if before.low is None or before.high is None:
        assert after.low is None and [c.code for c in after.cautions] == ["zero_variance"]
        return
    assert (after.low, after.high) == pytest.approx((scale * before.low + shift, scale * before.high + shift), rel=1e-6)
    assert after.df == pytest.approx(before.df, rel=1e-6)


def test_a_table_by_hand() -> None:
    # About the mean 9/24 the row means are 12, 8, 8 and 8 / 24; the mean squares follow by hand.
    table = np.array(
        [[1, 0, 0, 1, 0, 1], [0, 0, 1, 1, 0, 0], [1, 0, 0, 1, -1, 1], [0, 1, 0, 1, 0, 0]], dtype=np.float64
    )
    result = two_way(table)
    squares = result.mean_squares
    assert (squares.seed, squares.case, squares.residual) == pytest.approx((1 / 24, 27 / 40, 11 / 40))
    total = 1 / 24 + 27 / 40 - 11 / 40
    df = total**2 / ((1 / 24) ** 2 / 3 + (27 / 40) ** 2 / 5 + (11 / 40) ** 2 / 15)
    assert (result.df, result.standard_error) == pytest.approx((df, math.sqrt(total / 24)))
    # The ends are where the chance of lying so far away, averaged over what both mean squares may be, is 0.025.
    rng = np.random.default_rng(0)
    variance = 1 / 24 * 3 / rng.chisquare(3, 1_000_000) + (27 - 11) / 40 * 5 / rng.chisquare(5, 1_000_000)
    assert result.low is not None and result.high is not None
    for end in (result.low, result.high):
        assert stats.norm.sf(abs(end - 3 / 8) / np.sqrt(variance / 24)).mean() == pytest.approx(0.025, rel=0.01)


def test_without_cases_that_differ_it_is_students_interval_over_seeds_and_the_other_way_round() -> None:
    values = np.random.default_rng(1).normal(size=7)
    student = stats.ttest_1samp(values, 0.0)

    for table in (np.tile(values[:, None], (1, 30)), np.tile(values, (30, 1))):
        result = two_way(table)

        assert result.df == pytest.approx(6)
        assert (result.low, result.high) == pytest.approx(tuple(student.confidence_interval(0.95)))
        assert result.p_value() == pytest.approx(student.pvalue, abs=1e-9)


def test_p_values_are_averages_over_what_the_mean_squares_may_be() -> None:
    table = correctness(6, 5, 80)
    result = two_way(table)
    squares = result.mean_squares
    above = max(0.0, squares.case - squares.residual)
    rng = np.random.default_rng(6)
    variance = squares.seed * 4 / rng.chisquare(4, 400_000) + above * 79 / rng.chisquare(79, 400_000)
    for truth in (0.0, 0.2, -0.4):
        away = abs(result.estimate - truth) / np.sqrt(variance / (5 * 80))
        p = result.p_value(against=truth)
        assert p == pytest.approx(2 * stats.norm.sf(away).mean(), rel=0.02, abs=1e-5)
        # With few seeds this is more careful than Satterthwaite's, the more so the smaller it is.
        assert p is not None and result.df is not None and result.standard_error is not None
        assert p > 2 * stats.t.sf(abs(result.estimate - truth) / result.standard_error, result.df)


def test_components_are_those_of_the_model() -> None:
    rng = np.random.default_rng(2)
    found = np.array(
        [
            (parts.seed, parts.case, parts.interaction)
            for parts in (
                two_way(
                    0.3 * rng.normal(size=(6, 1)) + 0.8 * rng.normal(size=(1, 50)) + 0.5 * rng.normal(size=(6, 50))
                ).components
                for _ in range(3000)
            )
        ]
    )
    error = found.std(axis=0) / math.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - [0.09, 0.64, 0.25]) < 4 * error).all()


def test_repeated_images_of_a_patient_carry_no_weight_of_their_own() -> None:
    table = correctness(3, 6, 40)
    copies = np.repeat(np.arange(40), 5)
    order = np.random.default_rng(3).permutation(200)

    once, repeated = two_way(table), two_way(table[:, copies][:, order], groups=copies[order])
    naive = two_way(table[:, copies])

    assert (repeated.low, repeated.high, repeated.df) == pytest.approx((once.low, once.high, once.df))
    assert naive.standard_error is not None and once.standard_error is not None
    assert naive.standard_error < 0.8 * once.standard_error


@given(table=tables, data=st.data())
def test_grouping_keeps_the_metric_of_each_seed(table: FloatArray, data: st.DataObject) -> None:
    cases = table.shape[1]
    drawn = data.draw(st.lists(st.integers(0, 5), min_size=cases, max_size=cases))
    groups = np.unique(drawn, return_inverse=True)[1]
    assert by_group(table, groups).mean(axis=1) == pytest.approx(table.mean(axis=1), abs=1e-12)


def test_a_variance_that_is_not_positive_is_replaced_and_said() -> None:
    # Rows and columns cancel: MSs = MSc = 0 and MSr = 4/3.
    cancelled = two_way(np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]))
    assert cancelled.standard_error == pytest.approx(math.sqrt(2.0 / 6))
    assert cancelled.df == 2
    assert "unusable_variance" in [caution.code for caution in cancelled.cautions]

    # MSs = 0.04 · 3 / 1, MSc near 0, MSr near 1: their sum is below zero, and MSs is the larger.
    table = np.array([[1.1, -0.9, 0.1], [-1.1, 0.9, -0.1]])
    replaced = two_way(table)
    assert replaced.df == 1
    assert replaced.standard_error == pytest.approx(math.sqrt(replaced.mean_squares.seed / 6))
    assert {"negative_component", "unusable_variance"} == {caution.code for caution in replaced.cautions}


def test_a_difference_that_is_always_the_same_has_no_interval() -> None:
    result = two_way(np.full((5, 20), 0.1))
    assert (result.low, result.high, result.df, result.p_value()) == (None, None, None, None)
    assert result.estimate == pytest.approx(0.1)
    assert [caution.code for caution in result.cautions] == ["zero_variance"]


def test_the_spread_of_balanced_accuracy_is_that_of_independent_recalls() -> None:
    rng = np.random.default_rng(8)
    labels = np.repeat([0, 1, 2], [70, 25, 8])
    hits = rng.random(103) < np.array([0.9, 0.7, 0.4])[labels]
    recalls = np.array([hits[labels == k].mean() for k in range(3)])
    expected = (recalls * (1 - recalls) / np.array([70, 25, 8])).sum() / 9
    logits = np.eye(3)[np.where(hits, labels, (labels + 1) % 3)]
    values = built_in()["balanced_accuracy"].case_values(RepeatedCases(logits[None], labels))
    assert values is not None and values.var() / 103 == pytest.approx(expected)


def counted_placements(own: FloatArray, others: FloatArray) -> tuple[FloatArray, FloatArray]:
    """DeLong's V10 and V01 by counting pairs."""
    wins = (own[:, None] > others) + 0.5 * (own[:, None] == others)
    return wins.mean(axis=1), wins.mean(axis=0)


@pytest.mark.parametrize(("n1", "n0"), [(60, 90), (12, 200), (5, 7), (2, 2), (1, 30)])
def test_the_spread_of_auc_pseudo_values_is_delongs_variance(n1: int, n0: int) -> None:
    # DeLong, DeLong and Clarke-Pearson 1988, equations 4 to 6: S10 / n1 + S01 / n0, of two correlated AUCs as well.
    rng = np.random.default_rng(5)
    own = rng.normal(1.0, 1.0, (2, n1)).round(1)
    others = rng.normal(0.0, 1.0, (2, n0)).round(1)
    placements = [counted_placements(own[method], others[method]) for method in range(2)]
    s10, s01 = (np.cov([placements[0][side], placements[1][side]]) if n > 1 else 0 for side, n in ((0, n1), (1, n0)))
    delong = np.asarray(s10 / n1 + s01 / n0)

    score = np.concatenate([own, others], axis=1)
    values = area_values(score, np.arange(n1 + n0) < n1)

    assert values is not None
    assert np.cov(values) / (n1 + n0) == pytest.approx(delong, rel=1e-12, abs=1e-15)
    assert values.mean(axis=1) == pytest.approx([one.mean() for one, _ in placements])


def test_patients_of_one_class_each_have_obuchowskis_variance() -> None:
    # Obuchowski 1997: sums of placements by patient, patients in the place of cases in the degrees of freedom.
    rng = np.random.default_rng(6)
    sizes1, sizes0 = rng.integers(1, 5, 9), rng.integers(1, 5, 14)
    labels = np.repeat([1, 0], [sizes1.sum(), sizes0.sum()]).astype(np.int64)
    groups = np.repeat(np.arange(23), [*sizes1, *sizes0]).astype(np.int64)
    score = rng.normal(labels, 1.0) + rng.normal(size=23)[groups]
    v10, v01 = counted_placements(score[labels == 1], score[labels == 0])
    area, parts = v10.mean(), 0.0
    for placements, own, units in ((v10, groups[labels == 1], 9), (v01, groups[labels == 0] - 9, 14)):
        sums = np.bincount(own, weights=placements - area)
        parts += units / (units - 1) * float(sums @ sums) / len(placements) ** 2

    by_case = area_values(score[None], labels == 1, groups)
    assert by_case is not None
    values = by_group(by_case, groups)[0]

    assert values.var(ddof=1) / 23 == pytest.approx(parts, rel=1e-12)
    assert values.mean() == pytest.approx(area)


def test_two_seeds_that_agree_by_chance_are_no_proof() -> None:
    # Both seeds differ from the control in as many cases, but not in the same ones.
    table = np.zeros((2, 60))
    table[0, :9] = table[1, 6:15] = 1.0
    found = two_way(table)
    assert found.mean_squares.seed == pytest.approx(0.0, abs=1e-12) and found.estimate == pytest.approx(0.15)
    p = found.p_value()
    assert p is not None and decide(found.estimate, p, replicates=2).verdict == "inconclusive"
