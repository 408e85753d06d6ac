"""Decoded datasets: each archive is decoded once, into one memory-mapped array that every trial then opens.

    CACHE/NAME-224px-3f9a…/                what ``harness.data.decoded`` describes
    CACHE/.NAME-224px-3f9a….lock/          the leases of all who have built it
    CACHE/NAME-224px-3f9a….unreadable.txt  where that could not be: the images that cannot be read, one a line

The key covers what the content follows from: the content of the raw files, plugin code, options, size, and the code
and libraries that decode. ``harness.data.raw_files`` knows the content of unchanged files without reading them, so
that opening takes milliseconds. The fingerprint covers the decoded content alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from harness.core.arguments import user_path
from harness.core.errors import DataError, RequestError
from harness.core.files import write_atomic
from harness.core.identity import source_hash
from harness.data.decode import UnreadableImagesError, check_records, clusters, decode_into
from harness.data.decoded import CacheKey, DecodedDataset, MetaFacts, describe, open_decoded, write_description
from harness.data.metadata import metadata_of
from harness.data.once import build_once
from harness.data.raw_files import raw_files
from harness.dataset import Dataset

_FORMAT = 4

_READING_CODE = (
    *("harness.data.decode", "harness.data.image_files", "harness.data.zip_members", "harness.core.zip_checks"),
    *("harness.data.npy_stream", "harness.data.metadata", "harness.data.table_cells", "harness.dataset"),
    *("harness.data.dicom", "harness.data.dicom_headers", "harness.data.tables"),
)
"""Modules that make pixels, labels and tables of raw files: another version of one may make others."""


def default_data_root() -> Path:
    """Where raw archives are looked for: ``GPAF_BENCH_DATA``, else ``data`` in the user's cache folder."""
    given = os.environ.get("GPAF_BENCH_DATA")
    return user_path(given) if given else user_cache_path("gpaf-bench") / "data"


def default_cache_root() -> Path:
    """Where decoded arrays go: ``GPAF_BENCH_CACHE``, else ``decoded`` in the user's cache folder."""
    given = os.environ.get("GPAF_BENCH_CACHE")
    return user_path(given) if given else user_cache_path("gpaf-bench") / "decoded"


def prepare(
    dataset: Dataset,
    code: str,
    size: int,
    data_root: Path,
    cache_root: Path,
    progress: Callable[[int, int], None] | None = None,
) -> DecodedDataset:
    """Open a decoded dataset; decode it first where that has not been done.

    Of any number of processes one decodes and the others wait; one that dies is succeeded.

    Args:
        dataset: the plugin, with its options.
        code: hash of the plugin's code; another code decodes anew.
        size: side of the decoded images in pixels.
        data_root: folder of the raw archives.
        cache_root: folder of the decoded datasets; made where it does not exist.
        progress: called with (decoded, total) while this process decodes.

    Raises:
        DataError: a raw file is missing or damaged.
        RequestError: the size is not positive, or the decoded folder is damaged.
    """
    if size < 1:
        raise RequestError(f"image size {size}: needs at least 1 pixel")
    raw = raw_files(dataset, data_root, cache_root)
    key = _key(dataset, code, size, raw.content())
    folder = cache_root / _folder_name(dataset, size, key)

    def build(target: Path) -> None:
        _build(dataset, data_root, size, key, target, folder.with_name(f"{folder.name}.unreadable.txt"), progress)
        raw.check_unchanged()

    if not folder.is_dir():
        build_once(folder, build)
    return open_decoded(folder, size)


def is_decoded(dataset: Dataset, code: str, size: int, data_root: Path, cache_root: Path) -> bool:
    """Whether ``prepare`` would only have to open what is there; False where the raw files are missing."""
    try:
        content = raw_files(dataset, data_root, cache_root).known_content()
    except DataError:
        return False
    return (
        content is not None and (cache_root / _folder_name(dataset, size, _key(dataset, code, size, content))).is_dir()
    )


def _key(dataset: Dataset, code: str, size: int, content: str) -> CacheKey:
    return {
        "code": code,
        "dataset": dataset.name,
        "options": dataset.options.model_dump(mode="json"),
        "size": size,
        "format": _FORMAT,
        "reading": _reading_code(),
        "files": content,
    }


@functools.cache
def _reading_code() -> tuple[str, str]:
    """A hash of the code that reads raw files, and the version of the library behind it."""
    import PIL

    return source_hash(_READING_CODE), PIL.__version__


def _folder_name(dataset: Dataset, size: int, key: CacheKey) -> str:
    # Escapes, so that a file name that is not UTF-8 is left for the plugin to report.
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return f"{dataset.name}-{size}px-{digest[:12]}"


def _build(
    dataset: Dataset,
    data_root: Path,
    size: int,
    key: CacheKey,
    target: Path,
    unreadable: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    records = dataset.records(data_root)
    classes = dataset.find_classes(data_root)
    check_records(dataset, classes, records)
    columns = dataset.columns(data_root)
    metadata = metadata_of(dataset.name, columns, records)
    images = _allocate(target / "images.npy", (len(records), size, size, 3))
    try:
        decoded = decode_into(images, records, progress, dataset.max_pixels)
    except UnreadableImagesError as error:
        if not error.are_many:
            raise
        write_atomic(unreadable, "".join(f"{reason}\n" for reason in error.reasons).encode())
        raise UnreadableImagesError(error.reasons, error.images, unreadable) from error
    unreadable.unlink(missing_ok=True)
    images.flush()
    labels, table = describe(records, clusters(records, decoded.originals), decoded.originals)
    meta: MetaFacts = {
        "size": size,
        "notes": decoded.notes,
        "left_out": dict(dataset.left_out(data_root)),
        "columns": [asdict(column) for column in columns],
        "key": key,
    }
    write_description(target, labels, table, metadata, classes, decoded.stored, meta)


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    # Writing through a map to a full disk kills the process (SIGBUS); claiming the room first gives an error.
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
            except OSError as error:
                error.filename = str(path)
                raise
    return images
