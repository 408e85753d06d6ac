"""What a zip archive announces, held against what its bytes can hold, before anything is unpacked."""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Iterable
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipInfo

DAMAGE = (
    *(BadZipFile, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError, OverflowError, MemoryError),
    *(struct.error, zlib.error),
)
"""What ``zipfile`` raises at archives that are damaged, encrypted or foreign; see ``is_damage`` too."""

MOST_NAME = 1024
"""Most characters of a member's name; file systems know no longer paths."""

_HEADER = 30
"""Bytes of a member's own header without its name."""
_MOST_EXPANSION = 1032
"""Deflate makes at most so many bytes of one (zlib's documentation)."""
_SLACK = 64


def is_damage(error: BaseException) -> bool:
    """Whether an error is the archive's fault; any other OSError is that of the file system."""
    # A directory that lies leads zipfile to a place before the file's beginning.
    return isinstance(error, DAMAGE) or (isinstance(error, OSError) and error.errno in (None, errno.EINVAL))


def reason(error: BaseException) -> str:
    """What to say of an error; some have no words."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def implausible(entry: ZipInfo, archive_bytes: int) -> str | None:
    """Why a member cannot be what the directory says, or is packed in a way that cannot be bounded; None if neither.

    Args:
        entry: from the archive's directory.
        archive_bytes: of the whole file.
    """
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        # zipfile unpacks bzip2 and LZMA without a limit: kilobytes may become gigabytes at once.
        return f"is compressed in a way that is not read (method {entry.compress_type}); pack it by deflate, or stored"
    if entry.header_offset + _HEADER + entry.compress_size > archive_bytes:
        return "is announced beyond the end of the archive"
    most = entry.compress_size
    if entry.compress_type == ZIP_DEFLATED:
        most = most * _MOST_EXPANSION + _SLACK
    if entry.file_size > most:
        return f"announces {entry.file_size:,} bytes, which {entry.compress_size:,} packed ones cannot hold"
    return None


def overlapping(entries: Iterable[ZipInfo]) -> ZipInfo | None:
    """A member whose bytes are another one's too, as in archives that expand without end; None where there is none."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            return entry
        end = entry.header_offset + _HEADER + entry.compress_size
    return None
