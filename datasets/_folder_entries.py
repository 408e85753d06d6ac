"""What lies in a folder or zip archive of images, listed in the same way for both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.dataset import FileImage, ImageSource
from harness.errors import DataError
from harness.zip_members import is_hidden, is_image, list_members


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or a folder."""

    path: PurePosixPath
    """Below the folder or archive that is listed."""
    source: ImageSource | None
    """None for a folder."""

    @property
    def is_image(self) -> bool:
        """Whether it is a file with an image's ending."""
        return self.source is not None and is_image(self.path)


def list_entries(root: Path, place: Path) -> list[Entry]:
    """Everything in a folder or zip archive but hidden files and what macOS adds; no empty path.

    Args:
        root: the data root, which neither ``place`` nor a link in it may leave.
        place: the folder or archive.

    Raises:
        DataError: a path leaves the data root, a folder is a link, or the archive is missing or damaged.
    """
    _stay_below(root, place)
    if place.is_dir():
        return list(_in_folder(root, place))
    return [Entry(member.path, None if member.is_folder else member.image) for member in list_members(place, None)]


def _in_folder(root: Path, folder: Path) -> Iterator[Entry]:
    for current, folders, files in os.walk(folder, onerror=_fail):
        # In place, as os.walk asks for.
        folders[:] = [name for name in folders if not is_hidden(PurePosixPath(name))]
        for name in (*folders, *files):
            path = Path(current, name)
            relative = PurePosixPath(path.relative_to(folder).as_posix())
            if is_hidden(relative):
                continue
            _check_name(path)
            if path.is_symlink():
                _stay_below(root, path)
                if path.is_dir():
                    raise DataError(f"{path}: a link to a folder, which is not followed; put the folder itself there")
            yield Entry(relative, None if path.is_dir() else FileImage(path))


def _fail(error: OSError) -> None:
    # Left alone, os.walk passes over a folder that it cannot read.
    raise error


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path.parent}: the name {path.name!a} is not UTF-8; rename it") from error


def _stay_below(root: Path, path: Path) -> None:
    target = path.resolve()
    if not target.is_relative_to(root.resolve()):
        raise DataError(f"{path}: leads to {target}, outside the data root {root}; put the images below the data root")
