"""Arrays inside npz files, read row by row: the file is compressed, and whole it may be larger than the memory."""

from __future__ import annotations

import io
import math
import os
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from harness.core.errors import DataError
from harness.core.zip_checks import DAMAGE, implausible, is_damage, overlapping, reason

KEPT_ROWS = 1024
"""Rows that are kept for those who ask late: what all threads of a decoding may have claimed and not yet asked for."""

_MOST_HEADER = 1 << 16
"""Bytes of an array's header; numpy itself writes far shorter ones, and reads what is announced at once."""


def array_names(archive: Path) -> list[str]:
    """Names of the arrays and files of an npz file, without ``.npy``.

    Raises:
        ValueError: the archive is damaged or malicious; more in ``NpyStream``.
    """
    with ZipFile(archive) as file:
        _check(file, archive)
        return [name.removesuffix(".npy") for name in file.namelist()]


class NpyStream:
    """One array of an npz file; its rows along the first axis are read forward, as they are asked for.

    Rows may be asked for by several threads and in any order, but nearly ascending is fast: what lies between is
    kept (up to ``KEPT_ROWS``, the latest ones), and a row that is gone is read again from the array's beginning.
    A forked or spawned process reads for itself.

    Attributes:
        dtype: of the array.
        shape: of the array; at least one axis.
    """

    def __init__(self, archive: Path, name: str) -> None:
        """Read the array's header.

        Args:
            archive: the npz file.
            name: of the array, without ``.npy``.

        Raises:
            KeyError: no such array. This and the next are among ``harness.core.zip_checks.DAMAGE``; the caller knows
                what the file should be and says so.
            ValueError: its header or length is wrong.
            OSError: the file system does not give the file.
        """
        self.archive, self.name = archive, name
        with ZipFile(archive) as file:
            entry = _check(file, archive).get(self._member)
            if entry is None:
                raise KeyError(f"no array {name!r}")
            with file.open(self._member) as stream:
                self.shape, self.dtype = _read_header(stream, name)
                start = stream.tell()
            self._row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
            expected, found = start + self.shape[0] * self._row_bytes, entry.file_size
            if expected != found:
                raise ValueError(f"{name} has {found} bytes where its header announces {expected}")
        self._reader = _Reader(os.getpid())

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[type[NpyStream], tuple[Path, str]]:
        return NpyStream, (self.archive, self.name)

    def row(self, index: int) -> npt.NDArray[Any]:
        """Row ``index`` in [0, len): ``dtype``, shape ``shape[1:]``, read-only.

        Raises:
            DataError: the archive is damaged at this row or before.
            IndexError: there is no such row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        reader = self._reader
        if reader.pid != os.getpid():
            # A forked child shares the file position with its parent, and the lock may be held by a thread that
            # exists in the parent only.
            reader = self._reader = _Reader(os.getpid(), inherited=reader)
        with reader.lock:
            content = self._take(reader, index)
        return np.frombuffer(content, dtype=self.dtype).reshape(self.shape[1:])

    def whole(self) -> npt.NDArray[Any]:
        """All rows, for an array that is known to be small: ``dtype``, ``shape``.

        Raises:
            DataError: the archive is damaged.
        """
        try:
            with ZipFile(self.archive) as file, file.open(self._member) as stream:
                if _read_header(stream, self.name) != (self.shape, self.dtype):
                    raise ValueError("the file was replaced while it was read")
                content = stream.read(len(self) * self._row_bytes)
                # The end is read too, where the checksum is verified.
                if stream.read(1) or len(content) != len(self) * self._row_bytes:
                    raise EOFError("it ends too early")
        except DAMAGE as error:
            raise self._damaged(0, reason(error)) from error
        return np.frombuffer(content, dtype=self.dtype).reshape(self.shape)

    @property
    def _member(self) -> str:
        return f"{self.name}.npy"

    def _take(self, reader: _Reader, index: int) -> bytes:
        content = reader.kept.pop(index, None)
        if content is not None:
            return content
        # Else each of thousands of rows behind a damaged place would read the archive up to it again.
        if reader.failure is not None and index >= reader.failure[0]:
            raise self._damaged(*reader.failure)
        try:
            if reader.stream is None or index < reader.position:
                self._restart(reader)
            return self._read_to(reader, index)
        except (*DAMAGE, OSError) as error:
            reader.close()
            if not is_damage(error) and not isinstance(error, FileNotFoundError):
                raise
            reader.failure = reader.position, reason(error)
            raise self._damaged(*reader.failure) from error

    def _restart(self, reader: _Reader) -> None:
        reader.close()
        reader.position = 0
        with ZipFile(self.archive) as file:
            # The member keeps the archive's file open for itself.
            reader.stream = file.open(self._member)
        if _read_header(reader.stream, self.name) != (self.shape, self.dtype):
            raise ValueError("the file was replaced while it was read")

    def _read_to(self, reader: _Reader, index: int) -> bytes:
        assert reader.stream is not None
        while True:
            # The last row is read to the member's end, where its checksum is verified.
            content = reader.stream.read(self._row_bytes)
            if len(content) != self._row_bytes:
                raise EOFError("it ends too early")
            reader.position += 1
            if reader.position > index:
                break
            reader.keep(reader.position - 1, content)
        if reader.position == len(self):
            reader.close()
        return content

    def _damaged(self, row: int, reason: str) -> DataError:
        return DataError(f"{self.archive}: {self.name} cannot be read from row {row} on ({reason}); get the file again")


@dataclass(frozen=True, slots=True)
class RowImage:
    """An image that is one row of an array in an npz file."""

    stream: NpyStream
    row: int

    def load(self) -> npt.NDArray[np.uint8]:
        """The image.

        Raises:
            DataError: the archive is damaged there.
        """
        image: npt.NDArray[np.uint8] = self.stream.row(self.row)
        return image


class _Reader:
    """How far one process has read."""

    def __init__(self, pid: int, inherited: _Reader | None = None) -> None:
        self.pid = pid
        # Closing a file that another thread of the parent was reading during the fork would wait for ever.
        self.inherited = inherited
        self.lock = threading.Lock()
        self.stream: IO[bytes] | None = None
        self.position = 0
        """The row that the stream gives next."""
        self.kept: OrderedDict[int, bytes] = OrderedDict()
        self.failure: tuple[int, str] | None = None

    def keep(self, row: int, content: bytes) -> None:
        self.kept[row] = content
        if len(self.kept) > KEPT_ROWS:
            self.kept.popitem(last=False)

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None


def _check(file: ZipFile, archive: Path) -> dict[str, ZipInfo]:
    """The members by name, each one possible and named once.

    Raises:
        ValueError: it is not so.
    """
    entries, size = file.infolist(), archive.stat().st_size
    for entry in entries:
        why = implausible(entry, size)
        if why is not None:
            raise ValueError(f"{entry.filename[:100]} {why}")
    twice = [name for name, times in Counter(entry.filename for entry in entries).items() if times > 1]
    shared = overlapping(entries)
    if twice or shared is not None:
        name = twice[0] if shared is None else shared.filename
        raise ValueError(f"{name[:100]} {'occurs twice' if twice else 'shares its bytes with another array'}")
    return {entry.filename: entry for entry in entries}


def _read_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype; the stream then stands at the first row."""
    beginning = stream.read(8)
    version = np.lib.format.read_magic(io.BytesIO(beginning))
    read, digits = {
        (1, 0): (np.lib.format.read_array_header_1_0, 2),
        (2, 0): (np.lib.format.read_array_header_2_0, 4),
    }.get(version, (None, 0))
    if read is None:
        raise ValueError(f"{name} is in version {version} of the npy format")
    announced = stream.read(digits)
    length = int.from_bytes(announced, "little")
    if length > _MOST_HEADER:
        raise ValueError(f"{name} has a header of {length:,} bytes")
    header = io.BytesIO(announced + stream.read(length))
    try:
        shape, columns_first, dtype = read(header)
    # numpy lets whatever its parsers raise at a broken header through, such as the tokenizer's own error.
    except Exception as error:
        raise ValueError(f"{name} has a header that cannot be read ({reason(error)})") from error
    if columns_first or dtype.hasobject or not shape or min(shape) < 0:
        raise ValueError(f"{name} is not stored as rows of plain numbers")
    return shape, dtype
