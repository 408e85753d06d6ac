"""What a folder or zip archive of images holds, listed in the same way for both."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.api import (
    HIDDEN,
    DataError,
    FileImage,
    ImageSource,
    is_hidden,
    left_out,
    list_members,
    unshowable,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or a folder."""

    path: PurePosixPath
    """Below the folder or archive that is listed."""
    source: ImageSource | None
    """None for a folder."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a place holds."""

    entries: list[Entry]
    """Files and folders, without those that ``is_hidden`` finds; no empty path."""
    hidden: int
    """How many files and folders ``is_hidden`` has found; what a hidden folder holds is not looked at."""


def list_entries(root: Path, place: Path) -> Listing:
    """List a folder or zip archive.

    Args:
        root: the data root, which neither ``place`` nor a link in it may leave.
        place: the folder or archive.

    Raises:
        DataError: a path leaves the data root, a folder is a link, a file is none that can be read, a name cannot be
            shown, or the archive is missing or damaged.
        OSError: the file system does not list a folder.
    """
    _stay_below(root, place)
    if place.is_dir():
        return _in_folder(root, place)
    entries = [Entry(member.path, None if member.is_folder else member.image) for member in list_members(place, None)]
    return Listing(entries, left_out(place, None).get(HIDDEN, 0))


def _in_folder(root: Path, place: Path) -> Listing:
    listing: list[Entry] = []
    hidden, waiting = 0, [PurePosixPath()]
    while waiting:
        below = waiting.pop()
        # Kinds come with the names: a look at each file would double the time on a file server.
        with os.scandir(place / below) as found:
            for item in sorted(found, key=lambda item: item.name):
                path, relative = place / below / item.name, below / item.name
                if is_hidden(PurePosixPath(item.name)):
                    hidden += 1
                    continue
                _check(root, path, item)
                folder = item.is_dir()
                listing.append(Entry(relative, None if folder else FileImage(path)))
                if folder:
                    waiting.append(relative)
    return Listing(listing, hidden)


def _check(root: Path, path: Path, item: os.DirEntry[str]) -> None:
    _check_name(path)
    if item.is_symlink():
        _stay_below(root, path)
        if path.is_dir():
            raise DataError(f"{path}: a link to a folder, which is not followed; put the folder itself there")
    # A named pipe would never end.
    elif not (item.is_file(follow_symlinks=False) or item.is_dir(follow_symlinks=False)):
        raise DataError(f"{path}: neither a file nor a folder; remove it")


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path.parent}: the name {path.name!a} is not UTF-8; rename it") from error
    if unshowable(path.name):
        raise DataError(f"{path.parent}: the name {path.name!a} has control characters; rename it")


def _stay_below(root: Path, path: Path) -> None:
    try:
        target = path.resolve()
    except RuntimeError as error:
        raise DataError(f"{path}: a link that leads back to itself; remove it") from error
    if not target.is_relative_to(root.resolve()):
        raise DataError(f"{path}: leads to {target}, outside the data root {root}; put the images below the data root")
