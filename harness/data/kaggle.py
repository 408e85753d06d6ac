"""An archive of a Kaggle dataset: fetched by kagglehub, which unpacks it, and packed again the same each time."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from harness.core.errors import one_line
from harness.core.extras import install
from harness.data.http_fetch import FetchError, Tick, check_room

_BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can state."""


def fetch_kaggle(handle: str, part: Path, tick: Tick) -> None:
    """Write the dataset's newest version as a zip archive; equal files give equal archives, byte for byte.

    Args:
        handle: ``OWNER/DATASET``.
        part: written to, from its beginning; kagglehub's own copy stays in kagglehub's cache.
        tick: called before each write, once the files are there.

    Raises:
        FetchError: kagglehub is missing, or it failed: no network, no credentials, no such dataset.
        RequestError: the disk has too little room.
    """
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError as error:
        raise FetchError(f"kagglehub is not installed ({install('kaggle')})") from error
    try:
        folder = Path(kagglehub.dataset_download(handle))
    # kagglehub's errors have no base class of their own.
    except Exception as error:
        reason = one_line(str(error)) or type(error).__name__
        raise FetchError(
            f"kagglehub failed ({reason}); it needs the network and, for some datasets, "
            "the token from https://www.kaggle.com/settings/api"
        ) from error
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise FetchError(f"kagglehub gave no files in {folder}")
    _pack(folder, files, part, tick)


def _pack(folder: Path, files: Sequence[Path], part: Path, tick: Tick) -> None:
    total, done = sum(path.stat().st_size for path in files), 0
    check_room(part.parent, total)
    # What lies in Kaggle's image archives is compressed already.
    try:
        with part.open("wb") as stream:
            with ZipFile(stream, "w", ZIP_STORED) as archive:
                for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix()):
                    tick(done, total)
                    member = ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
                    member.create_system, member.external_attr = 3, 0o100644 << 16
                    member.file_size = path.stat().st_size
                    with path.open("rb") as source, archive.open(member, "w") as target:
                        shutil.copyfileobj(source, target, _BLOCK)
                    done += member.file_size
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        error.filename = error.filename or str(part)
        raise
    tick(done, total)
