"""Raw archive to arrays: the one resize of the program, and which images belong together."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.core.errors import DataError
from harness.core.origin import group_fault
from harness.data.image_files import Memory, decode_image, most_bytes, pillow_prepared, too_large
from harness.dataset import MOST_PIXELS, Dataset, DecodingSource, Record, SizedSource

DECODING_BYTES = 512 << 20
"""Memory that all images which are decoded at once may take; one that needs more is decoded alone."""

_READING_BYTES = 128 << 20
"""The same for the files that have been read and not yet decoded."""
_CHUNK = 64
_MOST_THREADS = 16
_MOST_NAMED = 3


class UnreadableImagesError(DataError):
    """Some images cannot be decoded; ``reasons`` has one line for each.

    The message has the first few. The others are in the file ``listed``, or not told.
    """

    def __init__(self, reasons: Sequence[str], images: int, listed: Path | None = None) -> None:
        named = "; ".join(_shortened(reason) for reason in reasons[:_MOST_NAMED])
        rest = len(reasons) - _MOST_NAMED
        more = f"; and {rest:,} more" + ("" if listed is None else f", all listed in {listed}") if rest > 0 else ""
        count = "" if len(reasons) == 1 else f"{len(reasons):,} of {images:,} images cannot be read: "
        super().__init__(f"{count}{named}{more}")
        self.reasons, self.images = tuple(reasons), images

    @property
    def are_many(self) -> bool:
        """Whether the message leaves some out."""
        return len(self.reasons) > _MOST_NAMED


def _shortened(reason: str) -> str:
    # A path may have thousands of characters.
    return reason if len(reason) <= 500 else f"{reason[:250]} … {reason[-240:]}"


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
    """Raise DataError unless case ids are unique, labels name classes, every one of two or more has an image, and the
    groups are what the dataset says of them.
    """
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
    if len(classes) < 2 and not dataset.multi_label:
        raise DataError(f"dataset {dataset.name}: only one class, {classes[0]!r}; at least two are needed")
    if absent:
        raise DataError(f"dataset {dataset.name}: no image of class {absent[0]!r}; get the archive again")
    fault = group_fault(dataset.groups, (record.group for record in records))
    if fault is not None:
        raise DataError(f"dataset {dataset.name}: {fault}")


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
    images: npt.NDArray[np.uint8],
    records: Sequence[Record],
    progress: Callable[[int, int], None] | None,
    max_pixels: int = MOST_PIXELS,
) -> Decoded:
    """Decode every record into its row, on all cores that this process may use.

    Args:
        images: written to; uint8, shape (records, size, size, 3).
        records: what to decode, row by row.
        progress: called in this thread with (done, total).
        max_pixels: most pixels of an image file.

    Raises:
        UnreadableImagesError: some images cannot be read; raised when all have been tried.
        OSError: the file system does not give a file, or its room.
    """
    size = images.shape[1]
    reading, decoding = Memory(_READING_BYTES), Memory(DECODING_BYTES)

    def one(row: int) -> tuple[bytes, bytes, str | None] | DataError:
        record = records[row]
        try:
            with reading.claim() as take, decoding.claim() as take_decoded:
                loaded, note = _load(record, max_pixels, take), None
                if isinstance(loaded, bytes):
                    decode = record.image.decode if isinstance(record.image, DecodingSource) else decode_image
                    loaded, note = decode(loaded, record.case_id, max_pixels, take_decoded)
                original = to_rgb(loaded, record.case_id)
                resized = resize(original, size)
                images[row] = resized
                digest = hashlib.sha256(repr(original.shape).encode())
                digest.update(original.reshape(-1).data)
        except DataError as error:
            return error
        return digest.digest(), hashlib.sha256(resized.tobytes()).digest(), note

    def chunk(start: int) -> list[tuple[bytes, bytes, str | None] | DataError]:
        return [one(row) for row in range(start, min(start + _CHUNK, len(records)))]

    done = Decoded([], [], [])
    failed: list[str] = []
    tried = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(pillow_prepared(max_pixels))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=min(_cores(), _MOST_THREADS)))
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
        raise UnreadableImagesError(failed, len(records))
    return done


def _load(record: Record, max_pixels: int, take: Callable[[int], None]) -> npt.NDArray[np.uint8] | bytes:
    """What the record's source gives, once there is memory for the file."""
    source = record.image
    if isinstance(source, SizedSource):
        size = source.encoded_bytes()
        if size > most_bytes(max_pixels):
            raise DataError(f"{record.case_id}: {too_large(f'a file of {size / 1e6:,.1f} MB', max_pixels)}")
        take(size)
    return source.load()


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
