"""The images of a folder, of a zip archive or of one file, read as a dataset's images are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from harness.core.errors import DataError, RequestError
from harness.core.output import printable
from harness.data.decode import UnreadableImagesError, decode_into
from harness.data.zip_members import IMAGE_SUFFIXES, is_hidden, is_image, list_images
from harness.dataset import FileImage, ImageSource, Record


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image that is to be predicted."""

    name: str
    """Its path below the folder or archive, fit to be shown."""
    source: ImageSource


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Some images, resized."""

    names: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    """Shape (images, size, size, 3); what could not be read is black."""
    errors: tuple[str | None, ...]
    """Why an image could not be read; None where it could."""


def list_new(place: Path) -> list[NewImage]:
    """The images at a place, by path; in a folder those of folders within as well.

    Hidden and system files are left out, and files whose names do not end as an image's, but for one that is named
    itself.

    Raises:
        RequestError: there is nothing at the place, or no image.
        DataError: a zip archive is damaged, or something in the folder is neither a file nor a folder.
        OSError: the file system does not list a folder.
    """
    if place.is_dir():
        found = [NewImage(printable(str(path)), FileImage(place / path)) for path in _in_folder(place)]
    elif not place.exists():
        raise RequestError(f"{place}: no such folder, zip archive or image; check the path")
    elif place.suffix.lower() == ".zip":
        found = [NewImage(printable(str(one.path)), one.image) for one in list_images(place, None)]
        found.sort(key=lambda one: one.name)
    else:
        found = [NewImage(printable(place.name), FileImage(place))]
    if not found:
        raise RequestError(f"{place}: holds no image; names of images end in {', '.join(IMAGE_SUFFIXES)}")
    return found


def _in_folder(folder: Path) -> list[PurePosixPath]:
    found = []
    for place, folders, files in os.walk(folder, onerror=_raise):
        below = PurePosixPath(place).relative_to(folder)
        folders[:] = [name for name in folders if not is_hidden(PurePosixPath(name))]
        for path in (below / name for name in files):
            if is_hidden(path) or not is_image(path):
                continue
            # A named pipe would never end. A link that leads nowhere is an image that cannot be read.
            if (folder / path).exists() and not (folder / path).is_file():
                raise DataError(f"{folder / path}: neither a file nor a folder; remove it")
            found.append(path)
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def batches(images: list[NewImage], number: int, size: int, max_pixels: int) -> Iterator[ImageBatch]:
    """The images, decoded and resized as those of a dataset.

    Args:
        images: all of them.
        number: in a batch, at most.
        size: side in pixels to which they are resized.
        max_pixels: most pixels of a file.

    Raises:
        OSError: the file system failed.
    """
    for start in range(0, len(images), number):
        some = images[start : start + number]
        records = [Record(one.name, 0, one.source) for one in some]
        pixels = np.zeros((len(some), size, size, 3), dtype=np.uint8)
        errors: list[str | None] = [None] * len(some)
        try:
            decode_into(pixels, records, None, max_pixels)
        except UnreadableImagesError:
            # Which ones, only a second look tells.
            errors = [_fault(pixels[row : row + 1], record, max_pixels) for row, record in enumerate(records)]
        yield ImageBatch(tuple(one.name for one in some), pixels, tuple(errors))


def _fault(pixels: npt.NDArray[np.uint8], record: Record, max_pixels: int) -> str | None:
    try:
        decode_into(pixels, [record], None, max_pixels)
    except UnreadableImagesError as error:
        return error.reasons[0]
    return None
