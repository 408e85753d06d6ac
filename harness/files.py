"""Durable file operations: a reader sees the old content or the new, never a part of it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import RequestError


def encode_json(value: Any) -> bytes:
    """UTF-8 JSON with keys in their order, two spaces of indentation and a final newline."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` (temporary file, fsync, rename).

    Raises:
        OSError: with ``filename`` set to ``path``; the old content is then untouched.
    """
    write_atomic_by(path, lambda stream: stream.write(content))


def write_atomic_by(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace ``path`` by what ``write`` writes into a stream, which may be more than memory should hold twice.

    Raises:
        OSError: with ``filename`` set to ``path``; the old content is then untouched.
    """
    temporary = _write_temporary(path, write)
    try:
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)
        raise
    _sync_folder(path.parent)


def write_exclusive(path: Path, content: bytes, sync_name: bool = True) -> bool:
    """Create ``path`` with ``content`` unless it exists; tell whether this call created it.

    A hard link makes name and content appear together, which an exclusive ``open`` followed by a write does not.

    Args:
        sync_name: whether the name outlives a power failure when this returns; else it does from the next durable
            write in the same folder on. The content is on the disk before the name is there, either way.
    """
    if path.exists():
        return False
    temporary = _write_temporary(path, lambda stream: stream.write(content))
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if sync_name:
        _sync_folder(path.parent)
    return True


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document atomically."""
    write_atomic(path, encode_json(value))


def update(path: Path, content: bytes) -> None:
    """Write a file atomically unless it has this content already; an unchanged file keeps its time stamp."""
    if not path.exists() or path.read_bytes() != content:
        write_atomic(path, content)


def update_json(path: Path, value: Any) -> None:
    """``update`` with a JSON document."""
    update(path, encode_json(value))


def read_with_status(path: str) -> tuple[os.stat_result, bytes]:
    """A small file: its status before it was read, and what it holds.

    Raises:
        OSError: it cannot be read.
    """
    # By descriptor, in half the time of a stream, which asks for the place and the kind of the file too.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status, content = os.fstat(descriptor), b""
        while more := os.read(descriptor, 1 << 16):
            content += more
        return status, content
    finally:
        os.close(descriptor)


def read_json(path: Path, required: Sequence[str] = ()) -> dict[str, Any]:
    """Read a JSON object that has at least the ``required`` keys.

    Raises:
        TornFileError: the file holds no such object; the message names it and the remedy.
        OSError: it cannot be read.
    """
    value = parse_json(path.read_bytes(), required)
    if value is None:
        raise TornFileError(path)
    return value


def parse_json(content: bytes, required: Sequence[str] = ()) -> dict[str, Any] | None:
    """The JSON object that a file holds; None where it is none, or lacks one of the ``required`` keys."""
    from pydantic_core import from_json

    try:
        # A third of the time of ``json.loads``: a report reads hundreds of thousands of small files.
        value = from_json(content)
    except ValueError:
        return None
    if not isinstance(value, dict) or not value.keys() >= set(required):
        return None
    return value


class TornFileError(RequestError):
    """A file of the run directory does not hold what its name promises."""

    def __init__(self, path: Path, afterwards: str = "computes it again") -> None:
        super().__init__(
            f"{path}: torn or edited, not readable; "
            f"give the sweep command with --repair, which sets the file aside and {afterwards}"
        )
        self.path = path


def _write_temporary(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
