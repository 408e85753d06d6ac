"""The interval over splits image by image: what it becomes in special cases, and how often it covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.shared_images import mean_over_images
from analysis.stats.twoway import two_way


def table(rows: int, cases: int, seed: int = 0, row: float = 0.05, case: float = 0.3) -> np.ndarray[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0, row, (rows, 1)) + rng.normal(0, case, cases) + rng.normal(0, 0.3, (rows, cases))
    result: np.ndarray[tuple[int, int]] = drawn
    return result


@given(st.integers(3, 8), st.integers(20, 60), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_one_test_side_and_no_training_images_are_the_two_way_analysis(rows: int, cases: int, seed: int) -> None:
    values = table(rows, cases, seed)
    expected = two_way(values)
    found = mean_over_images(list(values), [np.arange(cases)] * rows, np.zeros((rows, rows)))
    assert found.estimate == pytest.approx(expected.estimate)
    squares = expected.mean_squares
    if squares.case <= squares.residual:
        # The component of the cases is below zero there, and counts as zero here.
        return
    assert found.shared.variance == pytest.approx((squares.case - squares.residual) / (rows * cases))
    assert found.rows.variance == pytest.approx(squares.seed / (rows * cases))
    assert found.low == pytest.approx(expected.low) and found.high == pytest.approx(expected.high)
    assert found.p_value() == pytest.approx(expected.p_value())


def test_rows_that_share_nothing_are_students_t() -> None:
    values = table(5, 30)
    tests = [np.arange(30) + 30 * number for number in range(5)]
    found = mean_over_images(list(values), tests, np.zeros((5, 5)))
    alone = mean_over_images(list(values), tests, np.zeros((5, 5)), 0.9)
    assert found.shared.variance == 0 and found.df == pytest.approx(4)
    assert found.rows.variance == pytest.approx(values.mean(axis=1).var(ddof=1) / 5)
    assert alone.low is not None and found.low is not None and found.low < alone.low


@given(st.permutations(range(6)), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_and_images_and_the_names_of_images_decide_nothing(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    tests = [rng.permutation(50)[: 12 + number] for number in range(6)]
    values = [rng.normal(0.1, 1, len(test)) for test in tests]
    trained = np.full((6, 6), 0.01) + np.diag(rng.random(6))
    found = mean_over_images(values, tests, trained)
    turned = [rng.permutation(len(values[row])) for row in order]
    again = mean_over_images(
        [values[row][turn] for row, turn in zip(order, turned, strict=True)],
        [1000 - 7 * tests[row][turn] for row, turn in zip(order, turned, strict=True)],
        trained[np.ix_(order, order)],
    )
    assert (again.estimate, again.standard_error, again.df, again.low) == pytest.approx(
        (found.estimate, found.standard_error, found.df, found.low)
    )


@pytest.mark.parametrize("splits", ["random", "folds"])
def test_a_null_of_images_that_move_scores_is_rejected_as_often_as_promised(splits: str) -> None:
    """Images whose effects by being trained on and by being tested are the same, as the model assumes them."""
    pool, rows, size, rejected, sweeps = 200, 10, 40, 0, 400
    rng = np.random.default_rng(1)
    for _ in range(sweeps):
        effect = rng.normal(0, 1, pool)
        orders = [rng.permutation(pool) for _ in range(rows)]
        if splits == "folds":
            orders = [np.roll(orders[number // 5 * 5], size * number) for number in range(rows)]
        tests, trains = [order[:size] for order in orders], [order[size:] for order in orders]
        values = [
            effect[test] + effect[train].mean() + rng.normal(0, 1, size)
            for test, train in zip(tests, trains, strict=True)
        ]
        learned, seen = (
            np.array([np.isin(np.arange(pool), side) for side in sides]) / len(sides[0]) for sides in (trains, tests)
        )
        found = mean_over_images(values, tests, learned @ learned.T + learned @ seen.T + seen @ learned.T)
        p = found.p_value()
        assert p is not None
        rejected += p <= 0.05
    assert 0.02 <= rejected / sweeps <= 0.075


def test_equal_values_have_no_interval_and_impossible_rows_are_refused() -> None:
    values, tests = [np.full(4, 0.5)] * 3, [np.arange(4)] * 3
    found = mean_over_images(values, tests, np.zeros((3, 3)))
    assert found.low is None and [one.code for one in found.cautions] == ["zero_variance"]
    for wrong in (
        (values[:1], tests[:1], np.zeros((1, 1))),
        (values, tests[:2], np.zeros((3, 3))),
        (values, tests, np.zeros((2, 2))),
        (values, [np.zeros(4, int)] * 3, np.zeros((3, 3))),
        ([np.full(4, np.nan)] * 3, tests, np.zeros((3, 3))),
    ):
        with pytest.raises(ValueError, match=r"rows|row|finite"):
            mean_over_images(*wrong)
