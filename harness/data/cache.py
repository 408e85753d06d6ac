"""Decoded datasets: each archive is decoded once, into one memory-mapped array that every trial then opens.

    CACHE/NAME-224px-3f9a…/images.npy      uint8, (n, size, size, 3)
    CACHE/NAME-224px-3f9a…/records.json    labels, case ids, clusters, official sides
    CACHE/NAME-224px-3f9a…/meta.json       fingerprint, counts and what the folder's key was made of
    CACHE/.NAME-224px-3f9a….lock/          the leases of all who have built it

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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from harness import lease as leases
from harness.data.decode import RESIZE_VERSION, check_records, clusters, decode_into
from harness.dataset import Dataset, Record
from harness.errors import DataError, RequestError
from harness.files import encode_json, read_json, write_atomic, write_json

POLL_SECONDS = 0.5
"""How often a process looks whether another one has finished decoding."""

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class DecodedDataset:
    """A dataset as a training reads it; row i of every field is the same image."""

    images: npt.NDArray[np.uint8]
    """Memory-mapped and read-only, shape (n, size, size, 3), RGB."""
    labels: npt.NDArray[np.int64]
    """Shape (n,), indices into ``classes``."""
    case_ids: tuple[str, ...]
    groups: tuple[str, ...]
    """Cluster of each image: what shares a patient or lesion or is pixel-identical, also by way of others."""
    official: tuple[str | None, ...]
    """The side on which the publisher put it: train, val, test or None."""
    classes: tuple[str, ...]
    fingerprint: str
    """SHA-256 (hex) over pixels, labels, case ids, clusters, official sides, classes and size."""


def default_data_root() -> Path:
    """Where raw archives are looked for: ``GPAF_BENCH_DATA``, else ``data`` in the user's cache folder."""
    given = os.environ.get("GPAF_BENCH_DATA")
    return Path(given) if given else user_cache_path("gpaf-bench") / "data"


def default_cache_root() -> Path:
    """Where decoded arrays go: ``GPAF_BENCH_CACHE``, else ``decoded`` in the user's cache folder."""
    given = os.environ.get("GPAF_BENCH_CACHE")
    return Path(given) if given else user_cache_path("gpaf-bench") / "decoded"


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
    key = {
        "code": code,
        "dataset": dataset.name,
        "options": dataset.options.model_dump(mode="json"),
        "size": size,
        "format": _FORMAT,
        "resize_version": RESIZE_VERSION,
        "files": _raw_files(dataset, data_root),
    }
    digest = hashlib.sha256(encode_json(key)).hexdigest()
    folder = cache_root / f"{dataset.name}-{size}px-{digest[:12]}"

    def build(target: Path) -> None:
        _build(dataset, data_root, size, key, target, progress)

    if not folder.is_dir():
        _build_once(folder, build)
    return _open(folder, size)


def _raw_files(dataset: Dataset, data_root: Path) -> list[list[Any]]:
    missing = [name for name in dataset.files if not (data_root / name).is_file()]
    if missing:
        raise DataError(
            f"dataset {dataset.name}: {', '.join(missing)} not found in {data_root}; put it there as "
            f"published ({dataset.citation}) or name its folder with --data-root or GPAF_BENCH_DATA"
        )
    status = [(name, (data_root / name).stat()) for name in dataset.files]
    return [[name, entry.st_size, entry.st_mtime_ns] for name, entry in status]


def _build_once(folder: Path, build: Callable[[Path], None]) -> None:
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
            time.sleep(POLL_SECONDS)
            continue
        reason = "failed"
        try:
            # The last owner may have finished between the two looks.
            if not folder.is_dir():
                with _renewed(lease):
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


@contextmanager
def _renewed(lease: leases.Lease) -> Iterator[None]:
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(leases.RENEW_SECONDS):
            # A file server that is away for a moment must not end the renewals; if it stays away, the lease
            # expires.
            with suppress(OSError):
                lease.renew()

    thread = threading.Thread(target=renew, name="renew-decode-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _build(
    dataset: Dataset,
    data_root: Path,
    size: int,
    key: dict[str, Any],
    target: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    records = dataset.records(data_root)
    check_records(dataset, records)
    images = _allocate(target / "images.npy", (len(records), size, size, 3))
    digests = decode_into(images, records, progress)
    images.flush()
    described = _describe(dataset, records, clusters(records, (original for original, _ in digests)))
    fingerprint = hashlib.sha256(json.dumps([_FORMAT, size, described], sort_keys=True).encode())
    for _, stored in digests:
        fingerprint.update(stored)
    write_atomic(target / "records.json", json.dumps(described).encode())
    meta = {"fingerprint": fingerprint.hexdigest(), "images": len(records), "size": size, "key": key}
    write_json(target / "meta.json", meta)


def _describe(dataset: Dataset, records: Sequence[Record], groups: Sequence[str]) -> dict[str, list[Any]]:
    return {
        "classes": list(dataset.classes),
        "labels": [int(record.label) for record in records],
        "case_ids": [record.case_id for record in records],
        "groups": list(groups),
        "official": [record.official for record in records],
    }


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


def _open(folder: Path, size: int) -> DecodedDataset:
    try:
        meta = read_json(folder / "meta.json")
        records = read_json(folder / "records.json")
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.asarray(records["labels"], dtype=np.int64)
        rows = {len(records[name]) for name in ("labels", "case_ids", "groups", "official")}
        agree = rows == {meta["images"]} and images.shape == (meta["images"], size, size, 3)
        if not agree or images.dtype != np.uint8:
            raise ValueError(f"{meta['images']} images announced, {images.dtype} {images.shape} and {rows} rows found")
        labels.setflags(write=False)
        return DecodedDataset(
            images=images,
            labels=labels,
            case_ids=tuple(records["case_ids"]),
            groups=tuple(records["groups"]),
            official=tuple(records["official"]),
            classes=tuple(records["classes"]),
            fingerprint=str(meta["fingerprint"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError, RequestError) as error:
        raise RequestError(
            f"{folder}: this decoded dataset is damaged ({error}); delete the folder and give the same command again"
        ) from error
