"""What a zip archive or a table of labels holds, checked before a dataset plugin relies on it."""

from __future__ import annotations

import csv
import io
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from harness.dataset import ZipImage
from harness.errors import DataError, suggestion

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
"""Endings of what counts as an image, in small letters; capital ones count as well."""

_ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder in a zip archive."""

    archive: Path
    name: str
    """As the archive spells it."""
    path: PurePosixPath
    """The name without empty and ``.`` parts."""
    is_folder: bool

    @property
    def image(self) -> ZipImage:
        """The member as the source of an image."""
        return ZipImage(self.archive, self.name)


def list_members(archive: Path, source: str | None) -> list[Member]:
    """The members of a zip archive, in its order, without dot files and what macOS adds (``__MACOSX``).

    Args:
        archive: the file.
        source: where the archive is published; None for a user's own, which only the user can make again.

    Raises:
        DataError: missing, truncated or no zip archive; a member is encrypted, occurs twice, or has a path
            that leaves the archive.
    """
    try:
        with ZipFile(archive) as opened:
            entries = opened.infolist()
    except FileNotFoundError as error:
        where = f"download it from {source} and put it there" if source else "check its name"
        raise DataError(f"{archive}: not found; {where}") from error
    except IsADirectoryError as error:
        raise DataError(f"{archive}: a folder where the zip archive itself is expected; {_again(source)}") from error
    except (BadZipFile, EOFError, ValueError, NotImplementedError, struct.error) as error:
        raise DataError(f"{archive}: truncated or no zip archive ({error}); {_again(source)}") from error
    members = [_checked(archive, entry, source) for entry in entries]
    # Some programs list the archive's own root, whose path is empty.
    visible = [member for member in members if member.path.parts and not is_hidden(member.path)]
    seen: set[PurePosixPath] = set()
    for member in visible:
        # An empty folder may be announced twice; of two files under one name, only one could be read.
        if member.path in seen and not member.is_folder:
            raise DataError(f"{archive}: {member.name}: occurs twice in the archive; {_again(source)}")
        seen.add(member.path)
    return visible


def list_images(archive: Path, source: str | None) -> list[Member]:
    """The members whose name ends as an image's, in the order of the archive; see ``list_members``."""
    return [member for member in list_members(archive, source) if not member.is_folder and is_image(member.path)]


def is_image(path: PurePosixPath) -> bool:
    """Whether the name ends in one of ``IMAGE_SUFFIXES``."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_hidden(path: PurePosixPath) -> bool:
    """Whether a part of the path is a dot file, or what macOS adds when it packs an archive.

    The latter bear image names but hold no image.
    """
    return any(part == "__MACOSX" or part.startswith(".") for part in path.parts)


def read_table(path: Path, columns: Sequence[str], source: str | None) -> list[dict[str, str]]:
    """Rows of a CSV file, or of the only CSV file in a zip archive.

    Args:
        path: the file; ``.zip`` makes it an archive.
        columns: what the result has of each row; the file may have more.
        source: as in ``list_members``.

    Raises:
        DataError: missing or damaged, not UTF-8, no or several CSV files in the archive, a column is missing or
            occurs twice, or a row has more or fewer cells than the header. The line that is named counts from 1.
    """
    place, content = _read(path, source)
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        numbered = [(rows.line_num, row) for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{place}: not a CSV file in UTF-8 ({error}); {_again(source)}") from error
    header = numbered[0][1] if numbered else []
    for column in columns:
        if column not in header:
            has = f"it has {', '.join(header)}" if header else "it is empty"
            raise DataError(f"{place}: no column {column!r}; {has}{_meant(column, header)}; {_again(source)}")
        if header.count(column) > 1:
            raise DataError(f"{place}: column {column!r} occurs twice; {_again(source)}")
    for line, row in numbered:
        if len(row) != len(header):
            raise DataError(
                f"{place}: line {line}: {len(row)} cells where {len(header)} are expected; {_again(source)}"
            )
    index = {column: header.index(column) for column in columns}
    return [{column: row[at] for column, at in index.items()} for _, row in numbered[1:]]


def _checked(archive: Path, entry: ZipInfo, source: str | None) -> Member:
    path = PurePosixPath(entry.filename)
    # Nothing is ever unpacked, but a name of this kind was made to do harm, or cannot be read everywhere.
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or _DRIVE.match(entry.filename):
        raise DataError(
            f"{archive}: {entry.filename!r}: a path that leaves the archive or has backslashes; {_again(source)}"
        )
    if entry.flag_bits & _ENCRYPTED:
        raise DataError(f"{archive}: {entry.filename}: encrypted; pack the archive without a password")
    return Member(archive, entry.filename, path, entry.is_dir())


def _read(path: Path, source: str | None) -> tuple[str, bytes]:
    """The content of a CSV file, and what to call it."""
    if path.suffix.lower() != ".zip":
        try:
            return str(path), path.read_bytes()
        except FileNotFoundError as error:
            where = f"download it from {source} and put it there" if source else "check its name"
            raise DataError(f"{path}: not found; {where}") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); {_again(source)}") from error
    tables = [member for member in list_members(path, source) if member.path.suffix.lower() == ".csv"]
    if len(tables) != 1:
        raise DataError(f"{path}: {len(tables)} CSV files where one is expected; {_again(source)}")
    try:
        with ZipFile(path) as opened:
            return f"{path}: {tables[0].path}", opened.read(tables[0].name)
    except (BadZipFile, EOFError, OSError, zlib.error, NotImplementedError) as error:
        raise DataError(f"{path}: {tables[0].path}: cannot be read ({error}); {_again(source)}") from error


def _again(source: str | None) -> str:
    return f"get it again from {source}" if source else "write it again"


def _meant(column: str, header: Sequence[str]) -> str:
    """A guess, where there is one; ``suggestion`` alone would list the header again."""
    guess = suggestion(column, header)
    return guess if "did you mean" in guess else ""
