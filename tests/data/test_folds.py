"""Folds: every case tested once, clusters whole, classes in proportion, and impossible ones refused in one line."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.core.errors import RequestError
from harness.data.split import SplitKind, indices, make_folds
from tests.data.test_split import assert_partition, clustered, dataset, rows_of, shared_clusters


@given(clusters=clustered, folds=st.integers(2, 5), seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_case_is_tested_in_one_fold_and_no_cluster_is_on_two_sides(
    clusters: list[list[int]], folds: int, seed: int
) -> None:
    labels = [label for cluster in clusters for label in cluster]
    data = dataset(labels, [f"patient{number}" for number, cluster in enumerate(clusters) for _ in cluster])
    try:
        splits = make_folds(data, "grouped", seed, folds)
    except RequestError:
        assume(False)
        return
    for split in splits:
        assert_partition(split, data)
        assert shared_clusters(split, data) == 0
        assert split.train and split.val and split.test
    tested = Counter(case for split in splits for case in split.test)
    assert set(tested) == set(data.case_ids)
    assert set(tested.values()) == {1}
    turned = rows_of(data, list(reversed(range(len(labels)))))
    assert make_folds(turned, "grouped", seed, folds) == splits


@pytest.mark.parametrize("kind", ["grouped", "random"])
def test_folds_are_equal_in_number_and_have_the_classes_in_proportion(kind: SplitKind) -> None:
    data = dataset([0] * 70 + [1] * 30 + [2] * 5)
    splits = make_folds(data, kind, 0, 5)
    for split in splits:
        assert len(split.test) == 21
        assert (len(split.train), len(split.val)) == (68, 16)
        counts = np.bincount(data.labels[indices(split, data)[2]], minlength=3)
        assert counts.tolist() == [14, 6, 1]
    assert len({split.digest for split in [*splits, *make_folds(data, kind, 1, 5)]}) == 10


@pytest.mark.parametrize(
    ("kind", "groups", "folds", "said"),
    [
        ("grouped", ["a", "a", "b", "b", "c", "c", "d", "d"], 5, "only 4 groups of images that belong together"),
        ("random", None, 9, "only 8 images"),
        ("official", None, 2, "the publisher's sides make no folds"),
    ],
)
def test_impossible_folds_are_refused(kind: SplitKind, groups: list[str] | None, folds: int, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        make_folds(dataset([0, 1] * 4, groups), kind, 0, folds)
