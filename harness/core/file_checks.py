"""Whether a file is whole, seen without what reads it: no torch, no polars, no pillow."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from harness.core.files import open_stream, parse_json

_PARQUET = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Whether a file begins and ends as a parquet file does; a truncated one has lost its end."""
    with open_stream(path) as stream:
        head = stream.read(len(_PARQUET))
        length = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, length - len(_PARQUET)))
        return length > 2 * len(_PARQUET) and head == stream.read() == _PARQUET


def is_checkpoint(path: Path, thorough: bool) -> bool:
    """Whether a file is a zip archive, as torch writes them; its directory comes last, so a truncated one has none.

    Args:
        path: the file; one that is missing is no checkpoint.
        thorough: read all of it and compare its checksums.
    """
    try:
        with open_stream(path) as stream, ZipFile(stream) as archive:
            # Torch stores without packing: what expands was made to fill the memory.
            expanded = sum(entry.file_size for entry in archive.infolist())
            return expanded <= path.stat().st_size and (not thorough or archive.testzip() is None)
    except (BadZipFile, FileNotFoundError):
        return False


def is_safetensors(path: Path) -> bool:
    """Whether a file is as long as its header says that its tensors are."""
    with open_stream(path) as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            header = parse_json(stream.read(min(length, 1 << 27)))
            if header is None:
                return False
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, AttributeError, KeyError, TypeError):
            return False
        return stream.seek(0, os.SEEK_END) == 8 + length + max(ends, default=0)


def is_png(path: Path) -> bool:
    """Whether a file begins as a picture does and has its end."""
    with open_stream(path) as stream:
        head = stream.read(4)
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 8))
        return head == b"\x89PNG" and stream.read(4) == b"IEND"
