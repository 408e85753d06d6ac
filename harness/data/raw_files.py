"""What a dataset's raw files hold, by a hash of their content that is taken once for each state of the files.

    CACHE/.content/3f9a….json       the hash for one state: names, lengths, and times of modification and of change
    CACHE/.content/NAME.lock/       the leases of all who have read the files of a dataset

A name, a length and a time stamp can be given to any file; ``cp -p`` does so. The time of change cannot: as long as
all four are as they were, the content is.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import DataError
from harness.core.files import parse_json, write_atomic, write_json
from harness.core.lease import hold
from harness.dataset import Dataset

_FOLDER = ".content"
_THREADS = 8
"""Files that are read at once: a slow file server answers several in the time of one."""

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

State = tuple[tuple[str, int, int, int], ...]
"""Of each file: path below the data root, bytes, and times of modification and of change in ns."""


@dataclass(frozen=True, slots=True)
class RawFiles:
    """The raw files of a dataset in the state in which they were found."""

    dataset: str
    root: Path
    paths: tuple[Path, ...]
    state: State
    kept: Path
    """Where the hash for this state is kept."""

    def known_content(self) -> str | None:
        """SHA-256 (hex) of names and contents; None where nobody has read the files in this state."""
        if not self.paths:
            return _content((), [])
        try:
            kept = parse_json(self.kept.read_bytes(), ("content",))
        except FileNotFoundError:
            return None
        return None if kept is None else str(kept["content"])

    def content(self) -> str:
        """The same, reading the files where nobody has.

        Raises:
            DataError: a file has changed meanwhile.
            OSError: a file cannot be read, or the cache cannot be written; ``filename`` is set.
        """
        known = self.known_content()
        if known is not None:
            return known
        try:
            lock = self.kept.with_name(f"{self.dataset}.lock")
            lock.mkdir(parents=True, exist_ok=True)
            # Of any number of workers one reads.
            with hold(lock):
                content = self.known_content() or self._read()
                write_json(self.kept, {"dataset": self.dataset, "content": content})
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            # What is decoded there already can still be used.
            content = self._read()
        return content

    def _read(self) -> str:
        with ThreadPoolExecutor(_THREADS) as pool:
            hashes = list(pool.map(_hash, self.paths))
        self.check_unchanged()
        return _content(self.state, hashes)

    def check_unchanged(self) -> None:
        """Raise DataError if a file is no longer in the state in which it was found."""
        try:
            same = _state(self.root, self.paths) == self.state
        except FileNotFoundError:
            same = False
        if not same:
            raise DataError(
                f"dataset {self.dataset}: its files in {self.root} changed while they were read; "
                "run the same command again when they are complete"
            )


def copy_known(cache_root: Path, target: Path) -> None:
    """Let another cache know the contents that one knows.

    Raises:
        OSError: a file cannot be read or written.
    """
    for path in (cache_root / _FOLDER).glob("*.json"):
        copy = target / _FOLDER / path.name
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            write_atomic(copy, path.read_bytes())


def raw_files(dataset: Dataset, data_root: Path, cache_root: Path) -> RawFiles:
    """Find the raw files of a dataset.

    Raises:
        DataError: one is missing, or is neither a file nor a folder.
    """
    missing = [name for name in dataset.files if not (data_root / name).exists()]
    if missing:
        known = {download.name for download in dataset.downloads}
        fetch = f"; `python -m harness.data {dataset.name} --download` fetches it" if known & {*missing} else ""
        raise DataError(
            f"dataset {dataset.name}: {', '.join(missing)} not found in {data_root}{fetch}; put it there as "
            f"published ({dataset.citation}) or name its folder with --data-root or GPAF_BENCH_DATA"
        )
    names = [*dataset.files, *(name for name in dataset.optional_files if (data_root / name).exists())]
    paths = tuple(path for name in names for path in _files_of(data_root / name))
    state = _state(data_root, paths)
    # Escapes, so that a file name that is not UTF-8 is left for the plugin to report.
    digest = hashlib.sha256(json.dumps([dataset.name, state]).encode()).hexdigest()
    return RawFiles(dataset.name, data_root, paths, state, cache_root / _FOLDER / f"{digest[:32]}.json")


def _content(state: State, hashes: Sequence[str]) -> str:
    named = [[entry[0], content] for entry, content in zip(state, hashes, strict=True)]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(entry for entry in path.rglob("*") if entry.is_file())
    elif path.is_file():
        yield path
    else:
        raise DataError(f"{path}: neither a file nor a folder; put the archive itself there")


def _state(root: Path, paths: tuple[Path, ...]) -> State:
    found = []
    for path in paths:
        status = path.stat()
        found.append((path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
