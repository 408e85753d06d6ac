"""Leaks: counted as by hand, never in a grouped split, and as known in the published archives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from published import decoded

from harness.core.errors import RequestError
from harness.data.decode import clusters
from harness.data.decoded import DecodedDataset, describe
from harness.data.leaks import Leaks, find_leaks
from harness.data.split import make_split
from harness.dataset import ArrayImage, Record

BLACK = ArrayImage(np.zeros((1, 1), dtype=np.uint8))


def labelled(images: Sequence[tuple[int, int, int | None]]) -> DecodedDataset:
    """A dataset of images given by label, what they show, and group."""
    records = [
        Record(f"case/{row:04d}", label, BLACK, None if group is None else f"group{group}")
        for row, (label, _, group) in enumerate(images)
    ]
    digests = [bytes([shown] * 32) for _, shown, _ in images]
    labels, table = describe(records, clusters(records, digests), digests)
    return DecodedDataset(np.zeros((len(images), 1, 1, 3), dtype=np.uint8), labels, table, ("a", "b", "c"), "none")


images = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 255) | st.integers(0, 4), st.none() | st.integers(0, 30)),
    min_size=7,
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(images, st.integers(0, 2**31))
def test_a_grouped_split_never_leaks(given_images: list[tuple[int, int, int | None]], seed: int) -> None:
    data = labelled(given_images)
    try:
        split = make_split(data, "grouped", seed)
    except RequestError:
        assume(False)
    leaks = find_leaks(data, split)
    assert not leaks.any
    assert leaks == Leaks(0, 0, 0, 0, len(split.test))
    assert leaks.sentence() == "no identical images stand on more than one side"


@settings(max_examples=200, deadline=None)
@given(images, st.integers(0, 2**31))
def test_a_random_split_leaks_what_can_be_counted_by_hand(
    given_images: list[tuple[int, int, int | None]], seed: int
) -> None:
    data = labelled(given_images)
    split = make_split(data, "random", seed)
    of = {f"case/{row:04d}": image for row, image in enumerate(given_images)}

    def counted(key: Callable[[tuple[int, int, int | None]], int | None]) -> tuple[int, int]:
        sides = [[key(of[case]) for case in side] for side in (split.train, split.val, split.test)]
        known = {*map(key, given_images)} - {None}
        several = sum(sum(value in side for side in sides) > 1 for value in known)
        return several, sum(value in known and (value in sides[0] or value in sides[1]) for value in sides[2])

    duplicates, groups = counted(lambda image: image[1]), counted(lambda image: image[2])
    leaks = find_leaks(data, split)
    assert leaks == Leaks(*duplicates, *groups, test=len(split.test))
    assert leaks.any == (duplicates[0] + groups[0] > 0)
    assert leaks.to_json() == {
        "duplicate_clusters": duplicates[0],
        "duplicate_test": duplicates[1],
        "groups": groups[0],
        "group_test": groups[1],
        "test": len(split.test),
    }


@pytest.mark.parametrize(
    ("leaks", "sentence"),
    [
        (
            Leaks(1, 1, 0, 0, 1404),
            "1 group of identical images stands on more than one side, so that 1 of the 1,404 test images has an "
            "exact copy in training or validation",
        ),
        (
            Leaks(0, 0, 1964, 1203, 2004),
            "1,964 patients or lesions stand on more than one side, so that 1,203 of the 2,004 test images have "
            "another image of the same one in training or validation",
        ),
        (
            Leaks(2, 0, 1, 1, 9),
            "2 groups of identical images stand on more than one side, but none of the 9 test images is concerned; "
            "1 patient or lesion stands on more than one side, so that 1 of the 9 test images has another image of "
            "the same one in training or validation",
        ),
    ],
)
def test_the_finding_in_words(leaks: Leaks, sentence: str) -> None:
    assert leaks.sentence() == sentence


def test_the_official_split_of_brain_mri_leaks_as_published(shared_cache: Path) -> None:
    data = decoded("brain_mri", shared_cache)
    leaks = find_leaks(data, make_split(data, "official", 0))
    assert leaks == Leaks(189, 216, 0, 0, 1311)
    assert leaks.sentence() == (
        "189 groups of identical images stand on more than one side, so that 216 of the 1,311 test images have an "
        "exact copy in training or validation"
    )
    assert not find_leaks(data, make_split(data, "grouped", 0)).any


def test_the_official_split_of_breastmnist_leaks_one_image(shared_cache: Path) -> None:
    data = decoded("breastmnist", shared_cache, 28)
    assert find_leaks(data, make_split(data, "official", 0)) == Leaks(1, 1, 0, 0, 156)


def test_lesions_of_isic_stand_on_two_sides_unless_grouped(shared_cache: Path) -> None:
    data = decoded("isic2018", shared_cache)
    leaks = find_leaks(data, make_split(data, "random", 0))
    # Of 7,470 lesions 1,956 have several images.
    assert 1000 < leaks.groups < 1956
    assert 600 < leaks.group_test < 1000
    assert leaks.duplicate_clusters <= 2
    assert not find_leaks(data, make_split(data, "grouped", 0)).any
