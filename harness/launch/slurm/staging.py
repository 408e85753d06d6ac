"""Decoded images on a node's own disk: copied there once a node, used by every worker on it.

    SCRATCH/gpaf-bench-UID/NAME-224px-3f9a…/         a copy, laid out as the shared cache is
    SCRATCH/gpaf-bench-UID/.NAME-224px-3f9a….lock/   the leases of all who have copied it
    SCRATCH/gpaf-bench-UID/features-0a1b…/           what trials have computed and keep beside it

Who uses what is in ``harness.data.node_disk``. All stays behind for later jobs; where room is needed, what nobody uses
goes, that which was used longest ago first.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.core.errors import RequestError, one_line
from harness.core.files import read_json
from harness.core.lease import hold
from harness.data import node_disk
from harness.data.decoded import open_decoded
from harness.data.once import build_once
from harness.data.raw_files import copy_known

SPARE_BYTES = 1 << 20
"""Left free beside a copy, for leases and file system blocks."""


class _NotStaged(Exception):
    """Why the shared cache is used instead."""


def stage(datasets: Sequence[Path], cache_root: Path, scratch: Path, log: Callable[[str], object]) -> Path:
    """Copy decoded datasets to a node's own disk, unless they are there; returns the cache root to use.

    Of any number of processes one copies and the others wait; one that dies is succeeded. A copy appears complete or
    not at all, and stays as long as this process lives. Where not everything can be copied, one line says why and the
    shared cache is used.

    Args:
        datasets: folders of decoded datasets in the shared cache.
        cache_root: the shared cache.
        scratch: an existing folder on the node's own disk; anybody may write there.
        log: takes one line of text.
    """
    try:
        root = _stage([*datasets, *_near_duplicates_of(datasets, cache_root)], scratch, log)
        # Else each node would read the raw files to know that the copies were made of them.
        copy_known(cache_root, root)
        return root
    except (_NotStaged, RequestError, OSError) as error:
        log(f"using the shared cache {cache_root}: not staged to {scratch}: {one_line(str(error))}")
        return cache_root


def _stage(sources: Sequence[Path], scratch: Path, log: Callable[[str], object]) -> Path:
    root = _own_folder(scratch)
    before = node_disk.used_here()
    turn = node_disk.turn(root)
    try:
        for source in sources:
            node_disk.use(root, source.name)
        if not all(_is_copy(root / source.name, source) for source in sources):
            with hold(turn):
                _copy_all(sources, root, log)
    except BaseException:
        node_disk.give_back(before)
        raise
    return root


def _copy_all(sources: Sequence[Path], root: Path, log: Callable[[str], object]) -> None:
    """Copy what is missing; called by one process at a time."""
    for source in sources:
        target = root / source.name
        if target.exists() and not _is_copy(target, source) and not _remove(root, source.name):
            raise _NotStaged(f"{target} differs from {source}, and another process uses it")
    missing = [source for source in sources if not (root / source.name).exists()]
    if not missing:
        return
    size = sum(sum(_sizes(source).values()) for source in missing)
    _make_room(root, size + SPARE_BYTES)
    log(f"copying {size / 1e9:.3g} GB of decoded images to {root}")
    for source in missing:

        def build(target: Path, source: Path = source) -> None:
            _copy(source, target)

        build_once(root / source.name, build)


def _copy(source: Path, target: Path) -> None:
    for name in _sizes(source):
        with (source / name).open("rb") as original, (target / name).open("wb") as copy:
            shutil.copyfileobj(original, copy, 1 << 24)
            copy.flush()
            # After a power failure the new name could otherwise stand for a file of zeros.
            os.fsync(copy.fileno())
    if not _is_copy(target, source):
        raise _NotStaged(f"{source} changed while it was copied")
    if (target / "meta.json").exists():
        open_decoded(target, int(read_json(target / "meta.json", ("size",))["size"]))


def _is_copy(target: Path, source: Path) -> bool:
    """Whether a folder holds the same files: names, sizes, and the description with its fingerprint."""
    if not target.is_dir() or _sizes(target) != _sizes(source):
        return False
    description = source / "meta.json"
    return not description.exists() or (target / "meta.json").read_bytes() == description.read_bytes()


def _sizes(folder: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_size for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)}


def _own_folder(scratch: Path) -> Path:
    """This user's folder, which no other user can read or change.

    Raises:
        _NotStaged: somebody else made it, or it leads somewhere else.
    """
    if not scratch.is_absolute() or not scratch.is_dir():
        raise _NotStaged(f"{scratch} is no folder of this node")
    root = scratch / f"gpaf-bench-{os.getuid()}"
    try:
        root.mkdir(mode=0o700)
    except FileExistsError:
        found = root.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise _NotStaged(f"{root} is a link or a file; remove it") from None
        if found.st_uid != os.getuid():
            raise _NotStaged(f"{root} belongs to another user") from None
        if stat.S_IMODE(found.st_mode) != 0o700:
            root.chmod(0o700)
    return root


def _make_room(root: Path, needed: int) -> None:
    """Remove what nobody uses until so many bytes are free.

    Raises:
        _NotStaged: there is not that much room.
    """
    for name in node_disk.unused(root):
        if shutil.disk_usage(root).free >= needed:
            return
        _remove(root, name)
    free = shutil.disk_usage(root).free
    if free < needed:
        raise _NotStaged(f"{needed / 1e9:.3g} GB needed, {free / 1e9:.3g} GB free")


def _remove(root: Path, name: str) -> bool:
    """Remove a folder, whole or begun, unless another process uses it; tells whether it is gone."""
    with node_disk.alone(root, name) as free:
        if not free:
            return False
        lock = root / f".{name}.lock"
        if (root / name).exists():
            # Renamed first, so that a copy is never found half removed.
            doomed = lock / "build.removed"
            lock.mkdir(exist_ok=True)
            shutil.rmtree(doomed, ignore_errors=True)
            (root / name).rename(doomed)
        for begun in lock.glob("build.*"):
            shutil.rmtree(begun)
        return True


def _near_duplicates_of(datasets: Sequence[Path], cache_root: Path) -> list[Path]:
    """What ``harness.data.near_clusters`` and ``harness.data.copies`` have found in these datasets."""
    fingerprints = [str(read_json(folder / "meta.json", ("fingerprint",))["fingerprint"]) for folder in datasets]
    names = [f"{kind}-{mark[:16]}-*" for mark in fingerprints for kind in ("near", "copies")]
    return [path for name in names for path in sorted(cache_root.glob(name))]
