"""Raw archive to arrays: the one resize of the program, and which images belong together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset, Record
from harness.errors import DataError

RESIZE_VERSION = 1
"""Part of the cache's key: raise it when ``resize`` or ``to_rgb`` gives other pixels."""

_CHUNK = 64
_MOST_THREADS = 16

Digests = tuple[bytes, bytes]


def to_rgb(image: npt.NDArray[np.uint8], case_id: str) -> npt.NDArray[np.uint8]:
    """The image with three channels, uint8, shape (height, width, 3); grey is repeated.

    Raises:
        DataError: other type or shape.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise DataError(
            f"{case_id}: decoded to {image.dtype} of shape {image.shape}; "
            "the dataset plugin must give uint8, (height, width) or (height, width, 3)"
        )
    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    return np.ascontiguousarray(image)


def resize(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Squash to ``size`` × ``size`` pixels: the aspect ratio is not kept, nothing is cropped.

    Pillow's bilinear filter, whose support grows with the reduction (antialiased). An image that already has
    the size is taken as it is.

    Args:
        image: uint8, shape (height, width, 3).
        size: side of the result in pixels.
    """
    if image.shape[:2] == (size, size):
        return image
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def check_records(dataset: Dataset, records: Sequence[Record]) -> None:
    """Raise DataError unless there are records, their case ids are unique and their labels name classes."""
    if not records:
        raise DataError(f"dataset {dataset.name}: its archive holds no image; get the archive again")
    seen: set[str] = set()
    for record in records:
        if record.case_id in seen:
            raise DataError(
                f"dataset {dataset.name}: case id {record.case_id!r} occurs twice; the plugin must number it"
            )
        if not 0 <= record.label < len(dataset.classes):
            raise DataError(
                f"dataset {dataset.name}: {record.case_id} has label {record.label}, "
                f"but labels go from 0 to {len(dataset.classes) - 1}"
            )
        seen.add(record.case_id)


def decode_into(
    images: npt.NDArray[np.uint8], records: Sequence[Record], progress: Callable[[int, int], None] | None
) -> list[Digests]:
    """Decode every record into its row, on all cores that this process may use.

    Args:
        images: written to; uint8, shape (records, size, size, 3).
        records: what to decode, row by row.
        progress: called in this thread with (done, total).

    Returns:
        SHA-256 of each image as the archive holds it (RGB, before the resize) and as it is stored.

    Raises:
        DataError: an image cannot be read.
    """
    size = images.shape[1]

    def one(row: int) -> Digests:
        record = records[row]
        original = to_rgb(record.image.load(), record.case_id)
        resized = resize(original, size)
        images[row] = resized
        shape = repr(original.shape).encode()
        return hashlib.sha256(shape + original.tobytes()).digest(), hashlib.sha256(resized.tobytes()).digest()

    def chunk(start: int) -> list[Digests]:
        return [one(row) for row in range(start, min(start + _CHUNK, len(records)))]

    digests: list[Digests] = []
    with ThreadPoolExecutor(max_workers=min(_cores(), _MOST_THREADS)) as pool:
        for part in pool.map(chunk, range(0, len(records), _CHUNK)):
            digests += part
            if progress is not None:
                progress(len(digests), len(records))
    return digests


def clusters(records: Sequence[Record], originals: Iterable[bytes]) -> tuple[str, ...]:
    """Name the cluster of each record: all that a chain of equal groups or identical images connects.

    A cluster bears the smallest case id in it, so that its name depends neither on the order of the records
    nor on the size they are decoded to.

    Args:
        records: the dataset.
        originals: digest of each record's pixels before any resize.
    """
    parent = list(range(len(records)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[tuple[str, str | bytes], int] = {}
    for row, (record, digest) in enumerate(zip(records, originals, strict=True)):
        keys: list[tuple[str, str | bytes]] = [("pixels", digest)]
        if record.group is not None:
            keys.append(("group", record.group))
        for key in keys:
            parent[root(row)] = root(first.setdefault(key, row))
    names: dict[int, str] = {}
    for row, record in enumerate(records):
        names[root(row)] = min(names.get(root(row), record.case_id), record.case_id)
    return tuple(names[root(row)] for row in range(len(records)))


def _cores() -> int:
    # A cluster's job may use fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
