"""What a zip archive or a table of labels holds, checked before a dataset plugin relies on it."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

from harness.core.errors import DataError, suggestion
from harness.core.zip_checks import DAMAGE, MOST_NAME, implausible, is_damage, overlapping, reason
from harness.dataset import ZipImage

IMAGE_SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Endings of what counts as an image, in small letters; capital ones count as well."""

HIDDEN = "hidden and system files and folders (such as .DS_Store, __MACOSX, @eaDir)"
"""What ``left_out`` calls those that ``is_hidden`` finds."""

MOST_TABLE = 1 << 28
"""Most bytes of a table of labels."""

_SYSTEM = {
    *("__macosx", "@eadir", "#recycle", "$recycle.bin", "@recycle", "system volume information", "lost+found"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini"),
}
"""Names, in small letters, of what macOS, Windows and network storages put beside a user's files."""

_CONTROL = ("Cc", "Zl", "Zp")
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
    """The members of a zip archive, in its order, without what ``is_hidden`` finds.

    Args:
        archive: the file.
        source: where the archive is published; None for a user's own, which only the user can make again.

    Raises:
        DataError: missing, truncated or no zip archive; a member is encrypted, occurs twice, has a path that leaves
            the archive or a name that cannot be shown, or announces what the archive's bytes cannot hold.
        OSError: the file system does not give the file.
    """
    # Some programs list the archive's own root, whose path is empty.
    return [member for member in _all_members(archive, source) if member.path.parts and not is_hidden(member.path)]


def left_out(archive: Path, source: str | None) -> dict[str, int]:
    """How many files of an archive ``list_images`` leaves out, by reason: their ending, or ``HIDDEN``."""
    files = [member.path for member in _all_members(archive, source) if not member.is_folder]
    return count_left_out(path for path in files if path.parts)


def count_left_out(files: Iterable[PurePosixPath]) -> dict[str, int]:
    """How many of these files are no images, by reason, the most frequent one first."""
    reasons: Counter[str] = Counter()
    hidden: set[tuple[str, ...]] = set()
    for path in files:
        first = next((place for place, part in enumerate(path.parts) if is_hidden(PurePosixPath(part))), None)
        if first is not None:
            # A hidden folder counts once, whatever it holds.
            hidden.add(path.parts[: first + 1])
        elif not is_image(path):
            reasons[_ending(path)] += 1
    return dict((reasons + Counter({HIDDEN: len(hidden)})).most_common())


def _ending(path: PurePosixPath) -> str:
    return f"files that end in {path.suffix.lower()}" if path.suffix else "files without an ending"


def _all_members(archive: Path, source: str | None) -> list[Member]:
    with open_zip(archive, source) as opened:
        entries = opened.infolist()
    members = [_checked(archive, entry, source) for entry in entries]
    size = archive.stat().st_size
    for entry in entries:
        why = implausible(entry, size)
        if why is not None:
            raise DataError(f"{archive}: {entry.filename}: {why}; {_again(source)}")
    seen: set[PurePosixPath] = set()
    for member in members:
        # An empty folder may be announced twice; of two files under one name, only one could be read.
        if member.path in seen and not member.is_folder and not is_hidden(member.path):
            raise DataError(f"{archive}: {member.name}: occurs twice in the archive; {_again(source)}")
        seen.add(member.path)
    shared = overlapping(entries)
    if shared is not None:
        raise DataError(f"{archive}: {shared.filename}: shares its bytes with another member; {_again(source)}")
    return members


@contextmanager
def open_zip(archive: Path, source: str | None) -> Iterator[ZipFile]:
    """An archive, open for reading; what is wrong with it, also while it is read, becomes one line.

    Raises:
        DataError: it is missing, or damaged.
        OSError: the file system does not give it.
    """
    try:
        with ZipFile(archive) as opened:
            yield opened
    except FileNotFoundError as error:
        where = f"download it from {source} and put it there" if source else "check its name"
        raise DataError(f"{archive}: not found; {where}") from error
    except IsADirectoryError as error:
        raise DataError(f"{archive}: a folder where the zip archive itself is expected; {_again(source)}") from error
    except (*DAMAGE, OSError) as error:
        if not is_damage(error):
            raise
        raise DataError(f"{archive}: truncated or no zip archive ({reason(error)}); {_again(source)}") from error


def list_images(archive: Path, source: str | None) -> list[Member]:
    """The members whose name ends as an image's, in the order of the archive; see ``list_members``."""
    return [member for member in list_members(archive, source) if not member.is_folder and is_image(member.path)]


def is_image(path: PurePosixPath) -> bool:
    """Whether the name ends in one of ``IMAGE_SUFFIXES``."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_hidden(path: PurePosixPath) -> bool:
    """Whether a part of the path is a dot file, or what macOS, Windows or a network storage adds by itself.

    Some of the latter bear image names and hold no image, or a thumbnail of one.
    """
    return any(part.startswith(".") or part.lower() in _SYSTEM for part in path.parts)


def unshowable(name: str) -> bool:
    """Whether a name has a control character or a line break, which would go into tables and onto terminals."""
    return any(unicodedata.category(letter) in _CONTROL for letter in name)


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
    place, content = table_bytes(path, source)
    header, numbered = csv_rows(place, content, source)
    for column in columns:
        if column not in header:
            has = f"it has {', '.join(header)}" if header else "it is empty"
            raise DataError(f"{place}: no column {column!r}; {has}{meant(column, header)}; {_again(source)}")
        if header.count(column) > 1:
            raise DataError(f"{place}: column {column!r} occurs twice; {_again(source)}")
    index = {column: header.index(column) for column in columns}
    return [{column: row[at] for column, at in index.items()} for _, row in numbered]


def csv_rows(
    place: str, content: bytes, source: str | None, delimiter: str = ","
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header of a table in text form, and each further row that is not empty, with the number of its line.

    Args:
        place: of the table, for messages.
        content: the table.
        source: as in ``list_members``.
        delimiter: what separates cells.

    Raises:
        DataError: it is not UTF-8 or no such table, or a row has more or fewer cells than the header.
    """
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True)
        numbered = [(rows.line_num, row) for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{place}: not a CSV file in UTF-8 ({error}); {_again(source)}") from error
    header = numbered[0][1] if numbered else []
    for line, row in numbered:
        if len(row) != len(header):
            raise DataError(
                f"{place}: line {line}: {len(row)} cells where {len(header)} are expected; {_again(source)}"
            )
    return header, numbered[1:]


def _checked(archive: Path, entry: ZipInfo, source: str | None) -> Member:
    if len(entry.filename) > MOST_NAME:
        raise DataError(
            f"{archive}: {entry.filename[:60]!r}…: a name of {len(entry.filename):,} characters; {_again(source)}"
        )
    path = PurePosixPath(entry.filename)
    if unshowable(entry.filename):
        raise DataError(f"{archive}: {entry.filename!a}: a name with control characters; {_again(source)}")
    # Nothing is ever unpacked, but a name of this kind was made to do harm, or cannot be read everywhere.
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or _DRIVE.match(entry.filename):
        raise DataError(
            f"{archive}: {entry.filename!r}: a path that leaves the archive or has backslashes; {_again(source)}"
        )
    if entry.flag_bits & _ENCRYPTED:
        raise DataError(f"{archive}: {entry.filename}: encrypted; pack the archive without a password")
    return Member(archive, entry.filename, path, entry.filename.endswith("/"))


def table_bytes(path: Path, source: str | None) -> tuple[str, bytes]:
    """What to call a table, and its content: a file's, or that of the only CSV file in a zip archive.

    Raises:
        DataError: as ``read_table``, or it has more than ``MOST_TABLE`` bytes.
        OSError: the file system does not give it.
    """
    if path.suffix.lower() != ".zip":
        try:
            with path.open("rb") as stream:
                content = stream.read(MOST_TABLE + 1)
        except FileNotFoundError as error:
            where = f"download it from {source} and put it there" if source else "check its name"
            raise DataError(f"{path}: not found; {where}") from error
        except IsADirectoryError as error:
            raise DataError(f"{path}: a folder where a CSV file is expected; {_again(source)}") from error
        return _bounded(str(path), content, source)
    tables = [member for member in list_members(path, source) if member.path.suffix.lower() == ".csv"]
    if len(tables) != 1:
        raise DataError(f"{path}: {len(tables)} CSV files where one is expected; {_again(source)}")
    place = f"{path}: {tables[0].path}"
    with open_zip(path, source) as opened:
        try:
            with opened.open(tables[0].name) as member:
                content = member.read(MOST_TABLE + 1)
        except (*DAMAGE, OSError) as error:
            if not is_damage(error):
                raise
            raise DataError(f"{place}: cannot be read ({reason(error)}); {_again(source)}") from error
    return _bounded(place, content, source)


def _bounded(place: str, content: bytes, source: str | None) -> tuple[str, bytes]:
    if len(content) > MOST_TABLE:
        raise DataError(f"{place}: more than {MOST_TABLE:,} bytes, too many for a table of labels; {_again(source)}")
    return place, content


def _again(source: str | None) -> str:
    return f"get it again from {source}" if source else "write it again"


def meant(column: str, header: Sequence[str]) -> str:
    """A guess, where there is one; ``suggestion`` alone would list the header again."""
    guess = suggestion(column, header)
    return guess if "did you mean" in guess else ""
