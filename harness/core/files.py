"""Durable file operations: a reader sees the old content or the new, never a part of it."""

from __future__ import annotations

import errno
import functools
import json
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from harness.core.errors import RequestError
from harness.core.infrastructure import passes, persistently

Fence = Callable[[], None]
"""Raises where the writer no longer owns what it writes to."""

MOST_BYTES = 256 << 20
"""More memory than one file of a run needs, once read: a stranger's may be made to fill all there is."""
SMALL_BYTES = 1 << 20
VALUE_BYTES = 80
"""Memory of a value in a list or an object, with its share of both."""


def encode_json(value: Any) -> bytes:
    """UTF-8 JSON with keys in their order, two spaces of indentation and a final newline."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def write_atomic(path: Path, content: bytes, fence: Fence | None = None) -> None:
    """Replace ``path`` by ``content`` (temporary file, fsync, rename).

    Args:
        path: of the file.
        content: all of it.
        fence: asked when the content is on the disk, right before it gets its name.

    Raises:
        OSError: with ``filename`` set to ``path``; the old content is then untouched.
    """
    write_atomic_by(path, lambda stream: stream.write(content), fence)


def write_atomic_by(path: Path, write: Callable[[BinaryIO], object], fence: Fence | None = None) -> None:
    """Replace ``path`` by what ``write`` writes into a stream, which may be more than memory should hold twice.

    Args:
        path: of the file.
        write: called again where a passing error has cut it short.
        fence: as for ``write_atomic``.

    Raises:
        OSError: with ``filename`` set to ``path``; the old content is then untouched.
        NoPlainFileError: a folder is in its place.
    """

    def replace() -> None:
        temporary = _write_temporary(path, write, fence)
        try:
            if fence is not None:
                fence()
            temporary.replace(path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            _name(error, path)
            if isinstance(error, IsADirectoryError):
                raise NoPlainFileError(path, "a folder where a file belongs") from error
            raise
        _sync_folder(path.parent)

    persistently(replace)


def write_exclusive(path: Path, content: bytes, sync_name: bool = True, fence: Fence | None = None) -> bool:
    """Create ``path`` with ``content`` unless it exists; tell whether this call created it.

    A hard link makes name and content appear together, which an exclusive ``open`` followed by a write does not.

    Args:
        path: of the file.
        content: all of it.
        sync_name: whether the name outlives a power failure when this returns; else it does from the next durable
            write in the same folder on. The content is on the disk before the name is there, either way.
        fence: as for ``write_atomic``.

    Raises:
        OSError: with ``filename`` set to ``path``.
    """
    made: list[tuple[int, int]] = []

    def create() -> bool:
        if path.exists():
            # A file server whose answer was lost is asked again, and then finds what it has made itself.
            return bool(made) and _number(path) in made
        temporary = _write_temporary(path, lambda stream: stream.write(content), fence)
        made.append(_number(temporary))
        try:
            if fence is not None:
                fence()
            os.link(temporary, path)
        except FileExistsError:
            return _number(path) in made
        except OSError as error:
            _name(error, path)
            raise
        finally:
            temporary.unlink(missing_ok=True)
        if sync_name:
            _sync_folder(path.parent)
        return True

    return persistently(create)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document atomically."""
    write_atomic(path, encode_json(value))


def update(path: Path, content: bytes) -> None:
    """Write a file atomically unless it has this content already; an unchanged file keeps its time stamp."""
    if not path.exists() or read_with_status(path)[1] != content:
        write_atomic(path, content)


def update_json(path: Path, value: Any) -> None:
    """``update`` with a JSON document."""
    update(path, encode_json(value))


def read_with_status(path: str | Path, most: int = MOST_BYTES) -> tuple[os.stat_result, bytes]:
    """A file of a run or cache folder: its status before it was read, and its content.

    Args:
        path: the file; a link, a pipe or a device in its place is refused, because whoever made the folder may be a
            stranger, and a link can lead anywhere.
        most: refuse a longer file, in bytes.

    Raises:
        NoPlainFileError: it is not a plain file, or longer than ``most``.
        OSError: it cannot be read.
    """
    try:
        return _read_with_status(path, most)
    except OSError as error:
        if not passes(error):
            raise
    return persistently(lambda: _read_with_status(path, most))


def _read_with_status(path: str | Path, most: int) -> tuple[os.stat_result, bytes]:
    # By descriptor, in half the time of a stream, which asks for the place and the kind of the file too.
    descriptor, status = _opened(path)
    try:
        size = status.st_size
        if size > most:
            raise NoPlainFileError(path, f"{size / 1e6:.0f} MB long, more than any such file holds")
        # One more byte than there are: nothing after these is how the end shows.
        content = os.read(descriptor, size + 1)
        if len(content) == size:
            return status, content
        # It grows, or its size is not known beforehand.
        parts = [content]
        while more := os.read(descriptor, 1 << 16):
            parts.append(more)
            if sum(map(len, parts)) > most:
                raise NoPlainFileError(path, "longer than any such file, and still growing")
        return status, b"".join(parts)
    finally:
        os.close(descriptor)


def open_stream(path: str | Path) -> BufferedReader:
    """A file of a run or cache folder, to read.

    Raises:
        NoPlainFileError: it is a link, a pipe, a device or a folder.
        OSError: it cannot be opened.
    """
    return os.fdopen(_opened(path)[0], "rb")


def _opened(path: str | Path) -> tuple[int, os.stat_result]:
    """A descriptor of a plain file, which the caller closes, and its status."""
    try:
        # Without waiting for whoever may write into a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NoPlainFileError(path) from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NoPlainFileError(path)
    return descriptor, status


def read_json(path: Path, required: Sequence[str] = ()) -> dict[str, Any]:
    """Read a JSON object that has at least the ``required`` keys.

    Raises:
        TornFileError: the file holds no such object; the message names it and the remedy.
        OSError: it cannot be read.
    """
    value = parse_json(read_with_status(path)[1], required)
    if value is None:
        raise TornFileError(path)
    return value


def parse_json(content: bytes, required: Sequence[str] = ()) -> dict[str, Any] | None:
    """The JSON object that a file holds; None where it is none, or lacks one of the ``required`` keys."""
    if is_too_much(content):
        return None
    try:
        value = _from_json()(content)
    except ValueError:
        return None
    if not isinstance(value, dict) or (required and not value.keys() >= set(required)):
        return None
    return value


@functools.cache
def _from_json() -> Callable[[bytes], Any]:
    # A third of the time of ``json.loads``: a report reads hundreds of thousands of small files.
    from pydantic_core import from_json

    return from_json


def is_too_much(content: bytes) -> bool:
    """Whether JSON takes more memory than a file of a run needs, once read: ``[[],[],…`` takes 20 times its size."""
    if len(content) < SMALL_BYTES:
        return False
    values = sum(map(content.count, (b",", b"[", b"{")))
    return len(content) + VALUE_BYTES * values > MOST_BYTES


def inside(folder: Path, name: str) -> Path:
    """A file or folder of a run, whose name may come from a file that anybody wrote.

    Raises:
        RequestError: the name leads elsewhere.
    """
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise RequestError(f"{folder}: {name!r} is no name of anything in it; the run was edited or made to do harm")
    return folder / name


class NoPlainFileError(RequestError):
    """Something else than a plain file is where a file of a run or cache folder belongs."""

    def __init__(
        self, path: str | Path, what: str = "a link, a folder, a pipe or a device where a plain file belongs"
    ) -> None:
        super().__init__(f"{path}: {what}; a stranger's folder may do harm; remove it, or put the file itself there")
        self.path = Path(path)


class TornFileError(RequestError):
    """A file of the run directory does not hold what its name promises."""

    def __init__(self, path: Path, afterwards: str = "computes it again") -> None:
        super().__init__(
            f"{path}: torn or edited, not readable; "
            f"run the sweep command with --repair, which sets the file aside and {afterwards}"
        )
        self.path = path


def _number(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _name(error: BaseException, path: Path) -> None:
    """Let an error name the file that was meant, not the temporary one."""
    if isinstance(error, OSError):
        error.filename = str(path)


def _write_temporary(path: Path, write: Callable[[BinaryIO], object], fence: Fence | None) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    if fence is not None and not path.parent.is_dir():
        fence()  # the folder was moved away, and nobody owns what is not there
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _name(error, path)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
