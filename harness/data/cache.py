"""Decoded datasets: each archive is decoded once, into one memory-mapped array that every trial then opens.

    CACHE/NAME-224px-3f9a…/         what ``harness.data.decoded`` describes
    CACHE/.NAME-224px-3f9a….lock/   the leases of all who have built it

The key covers what the content follows from without reading it (plugin code, options, size, and name, length
and modification time of the raw files), so that opening takes milliseconds. The fingerprint covers the
content alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from harness import lease as leases
from harness.arguments import user_path
from harness.data.decode import RESIZE_VERSION, check_records, clusters, decode_into
from harness.data.decoded import DecodedDataset, describe, open_decoded, write_description
from harness.dataset import Dataset
from harness.errors import DataError, RequestError

POLL_SECONDS = 0.5
"""How often a process looks whether another one has finished decoding."""

_FORMAT = 2


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
    key = _key(dataset, code, size, data_root)
    folder = cache_root / _folder_name(dataset, size, key)

    def build(target: Path) -> None:
        _build(dataset, data_root, size, key, target, progress)

    if not folder.is_dir():
        build_once(folder, build)
    return open_decoded(folder, size)


def is_decoded(dataset: Dataset, code: str, size: int, data_root: Path, cache_root: Path) -> bool:
    """Whether ``prepare`` would only have to open what is there; False where the raw files are missing."""
    try:
        return (cache_root / _folder_name(dataset, size, _key(dataset, code, size, data_root))).is_dir()
    except DataError:
        return False


def _key(dataset: Dataset, code: str, size: int, data_root: Path) -> dict[str, Any]:
    return {
        "code": code,
        "dataset": dataset.name,
        "options": dataset.options.model_dump(mode="json"),
        "size": size,
        "format": _FORMAT,
        "resize_version": RESIZE_VERSION,
        "files": _raw_files(dataset, data_root),
    }


def _folder_name(dataset: Dataset, size: int, key: dict[str, Any]) -> str:
    # Escapes, so that a file name that is not UTF-8 is left for the plugin to report.
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return f"{dataset.name}-{size}px-{digest[:12]}"


def _raw_files(dataset: Dataset, data_root: Path) -> list[list[Any]]:
    missing = [name for name in dataset.files if not (data_root / name).exists()]
    if missing:
        known = {download.name for download in dataset.downloads}
        fetch = f"; `python -m harness.data {dataset.name} --download` fetches it" if known & {*missing} else ""
        raise DataError(
            f"dataset {dataset.name}: {', '.join(missing)} not found in {data_root}{fetch}; put it there as "
            f"published ({dataset.citation}) or name its folder with --data-root or GPAF_BENCH_DATA"
        )
    found = [path for name in dataset.files for path in _files_of(data_root / name)]
    status = [(path.relative_to(data_root).as_posix(), path.stat()) for path in found]
    return [[name, entry.st_size, entry.st_mtime_ns] for name, entry in status]


def _files_of(path: Path) -> list[Path]:
    return sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]


def build_once(folder: Path, build: Callable[[Path], None], waiting: Callable[[], None] = lambda: None) -> None:
    """Have a folder built by exactly one of any number of processes; the others wait, a dead one is succeeded.

    Args:
        folder: appears complete or not at all.
        build: fills the folder that it is given.
        waiting: called now and then while another process builds; what it raises ends the waiting.

    Raises:
        RequestError: the folder cannot be made.
    """
    lock = folder.with_name(f".{folder.name}.lock")
    try:
        lock.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RequestError(
            f"{lock.parent}: no folder for decoded images can be made there ({error.strerror}); "
            "name another with GPAF_BENCH_CACHE"
        ) from error
    while not folder.is_dir():
        lease = leases.claim(lock)
        if lease is None:
            waiting()
            time.sleep(POLL_SECONDS)
            continue
        reason = "failed"
        try:
            # The last owner may have finished between the two looks.
            if not folder.is_dir():
                with leases.keep_alive(lease):
                    _build_and_move(folder, lease, build)
            reason = "built"
        except leases.LeaseLost:
            continue
        finally:
            lease.release(reason)


def _build_and_move(folder: Path, lease: leases.Lease, build: Callable[[Path], None]) -> None:
    # Whoever made these is dead, or was suspended so long that it no longer owns the lock.
    for stale in lease.folder.glob("build.*"):
        shutil.rmtree(stale, ignore_errors=True)
    target = lease.folder / f"build.{lease.number:04d}"
    target.mkdir()
    try:
        build(target)
        lease.check()
        target.rename(folder)
    except OSError:
        # A successor clears this owner's unfinished folder away; that is no error to show.
        lease.check()
        raise
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _build(
    dataset: Dataset,
    data_root: Path,
    size: int,
    key: dict[str, Any],
    target: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    records = dataset.records(data_root)
    classes = dataset.find_classes(data_root)
    check_records(dataset, classes, records)
    images = _allocate(target / "images.npy", (len(records), size, size, 3))
    decoded = decode_into(images, records, progress)
    images.flush()
    labels, table = describe(records, clusters(records, decoded.originals), decoded.originals)
    meta = {"size": size, "notes": decoded.notes, "key": key}
    write_description(target, labels, table, classes, decoded.stored, meta)


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
