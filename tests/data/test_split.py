"""Splits: exact in number, stratified, whole in their clusters, and independent of the order of arrival."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import RequestError
from harness.data.decoded import COLUMNS, DecodedDataset
from harness.data.split import Split, SplitKind, exact_counts, indices, make_split


def dataset(
    labels: Sequence[int], groups: Sequence[str] | None = None, official: Sequence[str | None] | None = None
) -> DecodedDataset:
    case_ids = [f"case/{number:05d}" for number in range(len(labels))]
    columns = {
        "case_id": case_ids,
        "cluster": case_ids if groups is None else list(groups),
        "group": groups,
        "official": official,
        "pixels": case_ids,
    }
    return DecodedDataset(
        images=np.zeros((len(labels), 1, 1, 3), dtype=np.uint8),
        labels=np.array(labels, dtype=np.int64),
        records=pl.DataFrame(
            {name: [None] * len(labels) if values is None else list(values) for name, values in columns.items()},
            schema=dict.fromkeys(COLUMNS, pl.String),
        ),
        classes=tuple(f"class{label}" for label in range(max(labels) + 1)),
        fingerprint="of no consequence",
    )


def rows_of(data: DecodedDataset, rows: Sequence[int]) -> DecodedDataset:
    """The same images in another order, or some of them."""
    return DecodedDataset(data.images[rows], data.labels[rows], data.records[rows], data.classes, data.fingerprint)


def counts_of(n: int) -> tuple[int, int, int]:
    return 64 * n // 100, 16 * n // 100, n - 64 * n // 100 - 16 * n // 100


def smallest_deviation(sizes: Sequence[int], counts: tuple[int, int, int]) -> int | None:
    """How near clusters of these sizes can come to the counts, by listing every reachable pair.

    None where that is farther than the largest cluster has images, or a side stays empty.
    """
    reached = {(0, 0)}
    for size in sizes:
        reached |= {(a + size, b) for a, b in reached} | {(a, b + size) for a, b in reached}
    sides = [(a, b, sum(sizes) - a - b) for a, b in reached]
    distances = [max(abs(x - y) for x, y in zip(side, counts, strict=True)) for side in sides if min(side) > 0]
    nearest = min(distances, default=None)
    return None if nearest is None or nearest > max(sizes) else nearest


def test_paired_images_come_as_near_as_pairs_can() -> None:
    data = dataset([0, 0, 1, 1] * 50 + [0, 0], [f"patient{number // 2}" for number in range(202)])
    split = make_split(data, "grouped", 0)
    assert counts_of(202) == (129, 32, 41)
    assert (len(split.train), len(split.val), len(split.test)) in ((128, 32, 42), (130, 32, 40))
    assert shared_clusters(split, data) == 0


def assert_partition(split: Split, data: DecodedDataset) -> None:
    train, val, test = indices(split, data)
    assert sorted([*train, *val, *test]) == list(range(len(data.labels)))


def shared_clusters(split: Split, data: DecodedDataset) -> int:
    sides = [{data.groups[row] for row in rows} for rows in indices(split, data)]
    return sum(len(a & b) for a, b in ((sides[0], sides[1]), (sides[0], sides[2]), (sides[1], sides[2])))


clustered = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=20).filter(
    lambda clusters: sum(map(len, clusters)) >= 7
)


@settings(max_examples=300, deadline=None)
@given(clustered, st.integers(0, 2**31))
def test_grouped_is_exact_and_whole_wherever_that_is_possible(clusters: list[list[int]], seed: int) -> None:
    groups = [f"g{number}" for number, members in enumerate(clusters) for _ in members]
    data = dataset([label for members in clusters for label in members], groups)
    counts = counts_of(len(groups))
    nearest = smallest_deviation([len(members) for members in clusters], counts)
    if nearest is None:
        with pytest.raises(RequestError, match=r"do not come out even at|cannot be divided"):
            make_split(data, "grouped", seed)
        return
    split = make_split(data, "grouped", seed)
    found = (len(split.train), len(split.val), len(split.test))
    assert max(abs(a - b) for a, b in zip(found, counts, strict=True)) == nearest
    assert_partition(split, data)
    assert shared_clusters(split, data) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=7, max_size=300), st.integers(0, 2**31))
def test_random_is_exact_and_each_class_within_one_image_of_its_share(labels: list[int], seed: int) -> None:
    data = dataset(labels, groups=["all"] * len(labels))
    split = make_split(data, "random", seed)
    counts = counts_of(len(labels))
    assert (len(split.train), len(split.val), len(split.test)) == counts
    assert_partition(split, data)
    total = Counter(labels)
    for rows, count in zip(indices(split, data), counts, strict=True):
        inside = Counter(data.labels[rows].tolist())
        # Two roundings in turn: test first, then validation from what it left.
        assert all(abs(inside[label] - total[label] * count / len(labels)) < 2 for label in total)


def lesions(seed: int, sizes: Sequence[int], images: int, shares: Sequence[float]) -> DecodedDataset:
    rng = np.random.default_rng(seed)
    labels: list[int] = []
    groups: list[str] = []
    while len(labels) < images:
        size = int(rng.choice(sizes))
        labels += [int(rng.choice(len(shares), p=shares))] * size
        groups += [f"lesion{len(groups)}"] * size
    return dataset(labels, groups)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param((1, 1, 1, 2, 3, 6), id="lesions"),
        pytest.param((5, 8, 13, 21), id="patients-without-single-images"),
        pytest.param((3, 4), id="two-sizes"),
    ],
)
def test_grouped_keeps_class_proportions(sizes: tuple[int, ...]) -> None:
    data = lesions(0, sizes, images=6000, shares=(0.67, 0.12, 0.11, 0.06, 0.03, 0.01))
    whole = np.bincount(data.labels, minlength=6) / len(data.labels)
    for seed in range(5):
        split = make_split(data, "grouped", seed)
        assert (len(split.train), len(split.val), len(split.test)) == counts_of(len(data.labels))
        assert shared_clusters(split, data) == 0
        for rows in indices(split, data):
            share = np.bincount(data.labels[rows], minlength=6) / len(rows)
            assert np.abs(share - whole).max() < 0.01


@pytest.mark.parametrize("kind", ["grouped", "random", "official"])
def test_order_of_arrival_does_not_matter_and_the_seed_does(kind: SplitKind) -> None:
    data = lesions(1, (1, 1, 2, 4), images=400, shares=(0.5, 0.3, 0.2))
    side = {group: "test" if number % 5 == 0 else "train" for number, group in enumerate(sorted(set(data.groups)))}
    official = [side[group] for group in data.groups]
    data = dataset(data.labels.tolist(), data.groups, official)
    order = np.random.default_rng(2).permutation(len(data.labels)).tolist()

    def split_of(rows: Sequence[int], seed: int) -> Split:
        return make_split(rows_of(data, rows), kind, seed)

    straight = split_of(range(len(order)), 0)
    assert split_of(order, 0) == straight
    assert split_of(order, 1).digest != straight.digest


def test_the_largest_cluster_is_not_always_on_the_same_side() -> None:
    data = dataset([0] * 300, ["big"] * 10 + [f"s{number}" for number in range(290)])
    sides = Counter(
        next(side for side in ("train", "val", "test") if "case/00000" in getattr(make_split(data, "grouped", s), side))
        for s in range(60)
    )
    assert set(sides) == {"train", "val", "test"}
    assert sides["train"] > sides["val"]


def test_official_is_taken_as_given() -> None:
    official = ["train", "val", "test", "test"] * 3
    split = make_split(dataset([0, 1] * 6, official=official), "official", 0)
    assert split.val == ("case/00001", "case/00005", "case/00009")
    assert len(split.test) == 6


def test_official_without_validation_gives_a_fifth_of_train_to_it() -> None:
    groups = [f"g{number // 2}" for number in range(100)]
    data = dataset([number // 2 % 2 for number in range(100)], groups, ["train"] * 70 + ["test"] * 30)
    split = make_split(data, "official", 3)
    assert (len(split.train), len(split.val), len(split.test)) == (56, 14, 30)
    assert split.test == data.case_ids[70:]
    assert shared_clusters(split, data) == 0


@pytest.mark.parametrize(
    ("official", "message"),
    [
        ([None] * 10, "10 of 10 images have no official side"),
        (["train"] * 10, "no official test side"),
        (["val"] * 4 + ["test"] * 6, "no official train side"),
    ],
)
def test_official_needs_an_official_split(official: list[str | None], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make_split(dataset([0, 1] * 5, official=official), "official", 0)


def test_requests_that_cannot_be_met() -> None:
    with pytest.raises(RequestError, match="6 images are too few"):
        make_split(dataset([0, 1] * 3), "random", 0)
    with pytest.raises(RequestError, match="did you mean 'grouped'"):
        make_split(dataset([0, 1] * 5), "group", 0)  # type: ignore[arg-type]


def test_a_split_survives_json_and_notices_other_data() -> None:
    data = dataset([0, 1] * 20)
    split = make_split(data, "random", 7)
    again = Split.from_json(json.loads(json.dumps(split.to_json())))
    assert again == split
    assert again.digest == split.digest
    swapped = Split(split.kind, split.seed, split.train[::-1], split.test, split.val)
    assert swapped.digest != split.digest
    assert Split("grouped", 1, split.train[::-1], split.val, split.test).digest == split.digest

    with pytest.raises(RequestError, match=r"cases are not in the data, such as 'case/000"):
        indices(split, dataset([0, 1] * 10))
    with pytest.raises(RequestError, match="two sides"):
        indices(Split("random", 0, split.train, split.train, split.test), data)
    with pytest.raises(RequestError, match="not a recorded split"):
        Split.from_json({"kind": "random", "seed": 0, "train": [], "val": []})


@pytest.mark.parametrize(
    ("n", "counts"),
    [(10015, (6409, 1602, 2004)), (7023, (4494, 1123, 1406)), (107180, (68595, 17148, 21437))],
)
def test_the_archives_of_the_brief_are_cut_exactly(n: int, counts: tuple[int, int, int]) -> None:
    assert exact_counts(n) == counts
