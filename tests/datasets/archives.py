"""Small archives of real image files for tests of datasets, and where the published ones are."""

from __future__ import annotations

import functools
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import DataError
from harness.data.cache import prepare
from harness.data.decoded import DecodedDataset
from harness.data.split import SplitKind, indices, make_split
from harness.dataset import Dataset
from harness.plugins import Catalogue, Plugin, discover

REPOSITORY = Path(__file__).parents[2]


@functools.cache
def _catalogue() -> Catalogue:
    return discover()


def plugin(name: str) -> Plugin[Dataset]:
    return _catalogue().find(Dataset, name, "test")


def dataset(name: str, **options: object) -> Dataset:
    cls = plugin(name).cls
    return cls(cls.Options.model_validate(options))


def real(*names: str) -> Path:
    """The folder of published archives; the test is skipped where one is not there."""
    root = Path(os.environ.get("GPAF_BENCH_DATA") or REPOSITORY.parent / "shared" / "data")
    for name in names:
        if not (root / name).is_file():
            pytest.skip(f"{name} is not in {root}")
    return root


def decoded(name: str, root: Path, cache: Path, **options: object) -> DecodedDataset:
    """The dataset at 32 pixels, a size that all tests of a session share."""
    return prepare(dataset(name, **options), plugin(name).code, 32, root, cache)


def refused(name: str, root: Path, **options: object) -> str:
    """The one line with which the archives in a folder are refused."""
    with pytest.raises(DataError) as caught:
        decoded(name, root, root / "cache", **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(value: int, form: str = "JPEG") -> bytes:
    """A grey image of 10 × 12 pixels whose first row differs between values."""
    pixels = np.full((12, 10), 128, dtype=np.uint8)
    pixels[0] = value
    return encoded(Image.fromarray(pixels), form)


def write_zip(path: Path, members: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_folder(path: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def crossing(data: DecodedDataset, kind: SplitKind, names: list[str]) -> tuple[tuple[int, ...], set[str]]:
    """Sizes of the sides of a split, and those of ``names`` (one an image) that stand on several of them."""
    rows = indices(make_split(data, kind, 0), data)
    sides = [{names[row] for row in members} for members in rows]
    return tuple(map(len, rows)), sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def largest_deviation(data: DecodedDataset, kind: SplitKind) -> float:
    """Largest difference between a class's share of a side and its share of the whole."""
    whole = np.bincount(data.labels, minlength=len(data.classes)) / len(data.labels)
    sides = indices(make_split(data, kind, 0), data)
    shares = [np.bincount(data.labels[rows], minlength=len(whole)) / len(rows) for rows in sides]
    return float(max(np.abs(share - whole).max() for share in shares))
