"""The published archives, for tests that look at real images; where one is not there, the test is skipped."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from harness.data.cache import prepare
from harness.data.decoded import DecodedDataset
from harness.dataset import Dataset
from harness.plugins import Catalogue, discover

_REPOSITORY = Path(__file__).parents[2]


@functools.cache
def _catalogue() -> Catalogue:
    return discover()


def archive(name: str) -> tuple[Dataset, Path]:
    """A dataset with its default options, and the folder of its archives."""
    root = Path(os.environ.get("GPAF_BENCH_DATA") or _REPOSITORY.parent / "shared" / "data")
    dataset = _catalogue().find(Dataset, name, "test").cls()
    for file in dataset.files:
        if not (root / file).is_file():
            pytest.skip(f"{file} is not in {root}")
    return dataset, root


def decoded(name: str, cache: Path, size: int = 32) -> DecodedDataset:
    """All of a dataset; one size for all tests of a session saves time."""
    dataset, root = archive(name)
    return prepare(dataset, _catalogue().find(Dataset, name, "test").code, size, root, cache)
