"""Raw archive to arrays: the one resize of the program, and which images belong together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.data.image_files import decode_image
from harness.dataset import Dataset, Record
from harness.errors import DataError

RESIZE_VERSION = 2
"""Part of the cache's key: raise it when ``resize`` or ``to_rgb`` gives other pixels."""

_CHUNK = 64
_MOST_THREADS = 16


class UnreadableImagesError(DataError):
    """Some images cannot be decoded; ``reasons`` has one line for each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        more = f" (and {len(reasons) - 1} more; --audit lists them)" if len(reasons) > 1 else ""
        super().__init__(f"{reasons[0]}{more}")
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is known of the images after decoding, row by row."""

    originals: list[bytes]
    """SHA-256 of each image as the archive holds it: RGB, before the resize."""
    stored: list[bytes]
    """SHA-256 of each image as it is stored."""
    notes: list[str]
    """What was done beyond the resize, a line for each image concerned."""


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


def check_records(dataset: Dataset, classes: Sequence[str], records: Sequence[Record]) -> None:
    """Raise DataError unless case ids are unique, labels name classes, and every class has an image."""
    if not records:
        raise DataError(f"dataset {dataset.name}: its archive holds no image; get the archive again")
    seen: set[str] = set()
    present: set[int] = set()
    for record in records:
        if record.case_id in seen:
            raise DataError(
                f"dataset {dataset.name}: case id {record.case_id!r} occurs twice; the plugin must number it"
            )
        seen.add(record.case_id)
        present.update(_labels(dataset, classes, record))
    absent = [name for label, name in enumerate(classes) if label not in present]
    if absent:
        raise DataError(f"dataset {dataset.name}: no image of class {absent[0]!r}; get the archive again")


def _labels(dataset: Dataset, classes: Sequence[str], record: Record) -> list[int]:
    """The classes that a record bears."""
    label = record.label
    if dataset.multi_label:
        if isinstance(label, int) or len(label) != len(classes) or not {*label} <= {0, 1}:
            raise DataError(
                f"dataset {dataset.name}: {record.case_id} has label {label}, "
                f"but a 0 or 1 is expected for each of the {len(classes)} classes"
            )
        return [index for index, borne in enumerate(label) if borne]
    if not isinstance(label, int) or not 0 <= label < len(classes):
        raise DataError(
            f"dataset {dataset.name}: {record.case_id} has label {label}, but labels go from 0 to {len(classes) - 1}"
        )
    return [label]


def decode_into(
    images: npt.NDArray[np.uint8], records: Sequence[Record], progress: Callable[[int, int], None] | None
) -> Decoded:
    """Decode every record into its row, on all cores that this process may use.

    Args:
        images: written to; uint8, shape (records, size, size, 3).
        records: what to decode, row by row.
        progress: called in this thread with (done, total).

    Raises:
        UnreadableImagesError: some images cannot be read; raised when all have been tried.
    """
    size = images.shape[1]

    def one(row: int) -> tuple[bytes, bytes, str | None] | DataError:
        record = records[row]
        try:
            loaded, note = record.image.load(), None
            if isinstance(loaded, bytes):
                loaded, note = decode_image(loaded, record.case_id)
            original = to_rgb(loaded, record.case_id)
        except DataError as error:
            return error
        resized = resize(original, size)
        images[row] = resized
        shape = repr(original.shape).encode()
        digest = hashlib.sha256(shape + original.tobytes()).digest()
        return digest, hashlib.sha256(resized.tobytes()).digest(), note

    def chunk(start: int) -> list[tuple[bytes, bytes, str | None] | DataError]:
        return [one(row) for row in range(start, min(start + _CHUNK, len(records)))]

    done = Decoded([], [], [])
    failed: list[str] = []
    tried = 0
    with ThreadPoolExecutor(max_workers=min(_cores(), _MOST_THREADS)) as pool:
        for part in pool.map(chunk, range(0, len(records), _CHUNK)):
            tried += len(part)
            for outcome in part:
                if isinstance(outcome, DataError):
                    failed.append(str(outcome))
                    continue
                original, stored, note = outcome
                done.originals.append(original)
                done.stored.append(stored)
                done.notes.extend([] if note is None else [note])
            if progress is not None:
                progress(tried, len(records))
    if failed:
        raise UnreadableImagesError(failed)
    return done


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
