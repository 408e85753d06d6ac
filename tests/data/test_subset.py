"""Parts of the training side: nested, in proportion, and never more than the training side."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split import dataset, lesions

from harness.core.errors import RequestError
from harness.data.split import indices, make_split
from harness.data.strata import strata
from harness.data.subset import keep_training, meta_split


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=20, max_size=200).filter(lambda labels: 0 in labels),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(0, 5),
)
def test_subsets_are_nested_and_leave_the_other_sides_whole(
    labels: list[int], fractions: tuple[float, float], limits: tuple[int, int], seed: int
) -> None:
    data = dataset(labels)
    split = make_split(data, "random", seed)
    for few, many in (
        [keep_training(split, data, fraction=value) for value in sorted(fractions)],
        [keep_training(split, data, per_class=value) for value in sorted(limits)],
        (keep_training(split, data, min(fractions), min(limits)), keep_training(split, data, min(fractions))),
    ):
        assert set(few.train) <= set(many.train) <= set(split.train)
        assert (few.val, few.test) == (split.val, split.test)


def test_a_subset_keeps_each_class_in_proportion() -> None:
    data = dataset([0] * 500 + [1] * 100 + [2] * 20)
    split = make_split(data, "grouped", 0)

    def kept(**limits: float) -> list[int]:
        part = keep_training(split, data, **limits)  # type: ignore[arg-type]
        return np.bincount(data.labels[[data.rows[case] for case in part.train]], minlength=3).tolist()

    whole = kept()
    assert keep_training(split, data) is split
    assert kept(fraction=1.0) == whole
    assert kept(fraction=0.1) == [-(-n // 10) for n in whole]
    assert kept(per_class=30) == [30, 30, whole[2]]
    assert kept(fraction=0.1, per_class=20) == [20, -(-whole[1] // 10), -(-whole[2] // 10)]
    other = keep_training(make_split(data, "grouped", 1), data, per_class=30)
    assert set(other.train) != set(keep_training(split, data, per_class=30).train)


def test_the_meta_side_is_grouped_stratified_and_inside_training() -> None:
    data = lesions(3, (1, 1, 2, 4), images=800, shares=(0.5, 0.3, 0.2))
    split = make_split(data, "grouped", 0)
    train, _, _ = indices(split, data)
    rest, meta = meta_split(split, data, 0.125)
    assert len(meta) == len(train) // 8
    assert sorted([*rest, *meta]) == train.tolist()
    assert {data.groups[row] for row in rest}.isdisjoint(data.groups[row] for row in meta)
    shares = [np.bincount(data.labels[rows], minlength=3) / len(rows) for rows in (train, meta)]
    assert np.abs(shares[0] - shares[1]).max() < 0.05
    again, _ = meta_split(split, data, 0.125)
    assert again.tolist() == rest.tolist()
    for fraction in (0.0, 1.0):
        with pytest.raises(RequestError, match="one side empty"):
            meta_split(split, data, fraction)


def test_the_stratum_of_several_labels_is_the_rarest() -> None:
    labels = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    # Twice each: the second and third class are equally rare, so the lower index counts.
    assert strata(labels).tolist() == [2, 1, 0, 3, 1]
    assert Counter(strata(np.array([2, 0, 2])).tolist()) == {2: 2, 0: 1}
