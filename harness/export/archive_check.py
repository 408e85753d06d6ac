"""Whether an archive holds what its manifest says. It may be anybody's: nothing in it is believed before it is counted.

Members are read in pieces and never unpacked. No more is read than the manifest announces, and no archive expands to
more than ``MOST_TIMES`` its own size.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from harness.core.errors import RequestError
from harness.core.files import open_stream, parse_json

MANIFEST = "MANIFEST.json"
FORMAT = 1
PIECE = 1 << 20
MOST_TIMES, MOST_BESIDE = 200, 100 << 20
"""How many times its own size an archive may expand to, and how much more. Files of runs shrink to a tenth or so."""
MOST_MANIFEST = 64 << 20
MOST_DIRECTORY = 64 << 20
"""Longest list of members at the end of a zip file: each takes ten times as much memory."""
MOST_HEADER = 1 << 20
"""Longest description of a tar's member."""

_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error,
    NotImplementedError, UnicodeError, ValueError, OverflowError, RuntimeError, KeyError, IndexError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Stored:
    """A member of an archive."""

    name: str
    size: int
    """As the archive announces it."""
    stream: IO[bytes] | None
    """None for what is no file: a link, a device, a folder."""


def problems(archive: Path) -> list[str]:
    """What an archive holds otherwise than its manifest says, a line each.

    Raises:
        RequestError: it is not such an archive, or made to fill memory or time.
    """
    try:
        with open_stream(archive) as stream:
            most = MOST_TIMES * os.fstat(stream.fileno()).st_size + MOST_BESIDE
            is_zip = zipfile.is_zipfile(stream)
            stream.seek(0)
            members = _of_zip(stream) if is_zip else _of_tar(stream, most)
            return _compared(archive, members, most)
    except _DAMAGED as error:
        raise RequestError(f"{archive}: damaged, or neither .zip nor .tar.gz: {error}") from error
    except FileNotFoundError as error:
        raise RequestError(f"{archive}: no such file") from error


def _compared(archive: Path, members: Iterator[_Stored], most: int) -> list[str]:
    first = next(members, None)
    expected = None if first is None else _manifest(first)
    if expected is None:
        raise RequestError(f"{archive}: no archive of a run, or damaged: it does not begin with {MANIFEST}")
    if (total := sum(size for size, _ in expected.values())) > most:
        raise RequestError(f"{archive}: expands to {total / 1e9:.1f} GB, which no archive of a run of its size does")
    lines = [f"{name}: leads out of the archive" for name in expected if _leads_out(name)]
    seen: set[str] = set()
    for member in members:
        if len(lines) > len(expected) + 1000:
            raise RequestError(f"{archive}: holds thousands of files that its manifest does not name")
        if member.name not in expected:
            lines.append(f"{member.name}: not in the manifest")
        elif member.name in seen:
            lines.append(f"{member.name}: occurs twice")
        elif member.stream is None:
            lines.append(f"{member.name}: a link or a device instead of a file")
        elif not _agrees(member, *expected[member.name]):
            lines.append(f"{member.name}: changed")
        seen.add(member.name)
    return lines + [f"{name}: missing" for name in sorted(expected.keys() - seen)]


def _manifest(member: _Stored) -> dict[str, tuple[int, str]] | None:
    """Bytes and digest of each file; None where the member is no manifest."""
    if member.name != MANIFEST or member.stream is None or member.size > MOST_MANIFEST:
        return None
    content = parse_json(member.stream.read(MOST_MANIFEST), ("format", "files"))
    if content is None or content["format"] != FORMAT or not isinstance(content["files"], Mapping):
        return None
    found: dict[str, tuple[int, str]] = {}
    for name, facts in content["files"].items():
        size, digest = (facts.get("bytes"), facts.get("sha256")) if isinstance(facts, Mapping) else (None, None)
        if type(size) is not int or size < 0 or not isinstance(digest, str):
            return None
        found[name] = size, digest
    return found


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def _agrees(member: _Stored, size: int, digest: str) -> bool:
    if member.size != size or member.stream is None:
        return False
    total, left = hashlib.sha256(), size
    while piece := member.stream.read(min(PIECE, left + 1)):
        left -= len(piece)
        if left < 0:
            return False
        total.update(piece)
    return left == 0 and total.hexdigest() == digest


def _of_zip(stream: BinaryIO) -> Iterator[_Stored]:
    """The members of a zip file, in the order in which they were packed."""
    # ``ZipFile`` reads the whole list first.
    end: Any = zipfile._EndRecData(stream)  # type: ignore[attr-defined]
    if end is None or end[zipfile._ECD_SIZE] > MOST_DIRECTORY:  # type: ignore[attr-defined]
        raise zipfile.BadZipFile("its list of members is missing or longer than any run's")
    with zipfile.ZipFile(stream) as packed:
        for entry in packed.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG) and not entry.is_dir() and not entry.flag_bits & 1
            # Other ways to pack may take gigabytes for a single member; we use none of them.
            if not plain or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                yield _Stored(entry.filename, entry.file_size, None)
                continue
            with packed.open(entry) as opened:
                yield _Stored(entry.filename, entry.file_size, opened)


def _of_tar(stream: BinaryIO, most: int) -> Iterator[_Stored]:
    """The members of a packed tar file, in the order in which they were packed."""
    with (
        gzip.GzipFile(fileobj=stream, mode="rb") as expanded,
        tarfile.open(fileobj=_Bounded(expanded, most), mode="r:") as tar,
    ):
        while (member := tar.next()) is not None:
            # It keeps all that it has seen.
            tar.members = []  # type: ignore[attr-defined]
            yield _Stored(member.name, member.size, tar.extractfile(member) if member.isreg() else None)


class _Bounded(io.RawIOBase):
    """A stream of which no more is read than an archive may expand to, and no piece that fills the memory."""

    def __init__(self, stream: gzip.GzipFile, most: int) -> None:
        self._stream, self._most = stream, most

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > MOST_HEADER:
            raise tarfile.ReadError("a member's description is longer than any")
        self._check(self._stream.tell())
        return self._stream.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        self._check(place)
        return self._stream.seek(place, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def _check(self, place: int) -> None:
        if place > self._most:
            raise tarfile.ReadError("expands to more than an archive of a run of its size does")
