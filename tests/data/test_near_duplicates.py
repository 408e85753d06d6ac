"""The search for near-duplicates: what it finds is what a comparison of every pair finds."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks import near_duplicates as benchmark
from harness.data import near_duplicates
from harness.data.near_duplicates import MOST_BITS, are_near, find_near, take_fingerprints


def pictures(number: int, seed: int) -> npt.NDArray[np.uint8]:
    """Smooth pictures, a part of them copies of others: brighter, mirrored along each axis, or with noise."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros((number, 64, 64), dtype=np.uint8)
    for row in range(number):
        if row < 4 or rng.random() < 0.4:
            coarse = Image.fromarray(rng.integers(40, 200, (8, 8), dtype=np.uint8))
            drawn[row] = np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC))
            continue
        vertical, horizontal = rng.choice((1, -1), 2)
        copied = drawn[rng.integers(row)][::vertical, ::horizontal].astype(np.float64)
        noisy = copied * rng.uniform(0.9, 1.1) + rng.normal(0, rng.choice((0, 4, 12)), (64, 64))
        drawn[row] = np.clip(noisy, 0, 255)
    drawn[number // 2] = 90
    return np.repeat(drawn[..., None], 3, axis=3)


@pytest.mark.parametrize(("seed", "block"), [(0, (16, 8192)), (1, (7, 13)), (2, (1, 5)), (3, (150, 2))])
def test_every_pair_that_is_near_is_found_whatever_the_blocks(
    seed: int, block: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "_BLOCK", block)
    monkeypatch.setattr(near_duplicates, "MOST_NEIGHBOURS", 150)
    prints = take_fingerprints(pictures(150, seed), lambda done: None)
    content = np.random.default_rng(seed).integers(0, 120, 150)
    steps: list[int] = []
    found = find_near(prints, content, steps.append)
    first, second = np.triu_indices(150, 1)
    near = are_near(prints, first, second) & (content[first] != content[second])
    wanted = set(zip(first[near].tolist(), second[near].tolist(), strict=True))
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == wanted
    assert 50 < len(wanted) < 11_000
    assert 20 < found.mirrored.sum() < len(found.mirrored)
    assert not found.crowded.any()
    assert steps == sorted(steps)
    assert steps[-1] == 150


def test_a_mirrored_hash_is_that_of_the_mirrored_picture_but_for_few_bits() -> None:
    images = pictures(40, 5)
    hashes = take_fingerprints(images, lambda done: None).hashes
    for vertical, horizontal in ((False, True), (True, False), (True, True)):
        turned = images[:, :: -1 if vertical else 1, :: -1 if horizontal else 1]
        mask = near_duplicates._mirror_mask((vertical, horizontal))
        differing = np.bitwise_count(take_fingerprints(turned, lambda done: None).hashes ^ hashes ^ mask).sum(axis=1)
        assert np.delete(differing, 20).max() < MOST_BITS


def test_fingerprints_take_less_memory_than_the_thumbnails_that_they_leave_on_disk() -> None:
    images = pictures(400, 6)
    take_fingerprints(images[:4], lambda done: None)
    tracemalloc.start()
    try:
        prints = take_fingerprints(images, lambda done: None)
        assert tracemalloc.get_traced_memory()[1] < prints.thumbnails.nbytes
    finally:
        tracemalloc.stop()


def test_nothing_is_found_where_there_is_nothing() -> None:
    for number in (0, 1):
        prints = take_fingerprints(np.zeros((number, 64, 64, 3), dtype=np.uint8), lambda done: None)
        assert len(find_near(prints, np.arange(number), lambda done: None).first) == 0


def test_the_benchmark_finds_all_that_it_planted(capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("pairs", "audit"):
        assert benchmark.main(["--small", "--part", part]) == 0
        counted = json.loads(capsys.readouterr().out)
        assert (counted["found"], counted["others"]) == (10, 0)
