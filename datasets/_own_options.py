"""Options of a user's own images that a folder and a table have in common."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness.api import (
    MOST_PIXELS,
    DataError,
    DicomImage,
    FileImage,
    Frame,
    ImageSource,
    Options,
    Window,
    WindowedImage,
    ZipImage,
    is_dicom,
    is_hidden,
    is_image,
    is_source,
)

from ._folder_entries import Entry
from ._folder_layout import matches


def below_the_data_root(value: str, what: str) -> str:
    """A path below the data root as given.

    Raises:
        ValueError: it leads elsewhere.
    """
    path, windows = PurePosixPath(value), PureWindowsPath(value)
    if path.is_absolute() or windows.drive or windows.root or value.startswith("~") or ".." in windows.parts:
        raise ValueError(f"{value!r} leaves the data root; name what lies below it, and the root by --data-root")
    if not path.parts:
        raise ValueError(f"needs the name of {what} below the data root")
    return str(path)


def distinct(names: tuple[str, ...] | None, what: str) -> tuple[str, ...] | None:
    """Names of classes in the form that a keyboard writes; macOS stores the same name in another.

    Raises:
        ValueError: there is only one, or two are the same.
    """
    found = None if names is None else tuple(unicodedata.normalize("NFC", name) for name in names)
    if found is not None and (len(set(found)) != len(found) or len(found) < 2):
        raise ValueError(f"needs at least two different {what}, got {list(found)}")
    return found


def source_of(path: str) -> str:
    """A name for where images come from, made from their path; empty where that has no letter or digit for it."""
    return re.sub(r"[^a-z0-9._-]", "-", path.removesuffix(".zip").lower()).lstrip("._-")[:64]


class DicomOptions(BaseModel):
    """How DICOM files are read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    frame: Frame | None = None
    """Which image of a file with several: first, middle, last or a number from 1. Without it such a file is refused."""
    patients: bool = True
    """Whether PatientID says which images show one patient. The ids themselves are not kept: a patient is called
    ``patient 1``, ``patient 2``, … in the order of the files."""

    @field_validator("frame")
    @classmethod
    def _from_one(cls, value: Frame | None) -> Frame | None:
        if isinstance(value, int) and value < 1:
            raise ValueError(f"is {value}; frames count from 1")
        return value

    def check_one_each(self) -> None:
        """Raise ValueError unless every image may show a patient of its own."""
        if self.patients:
            raise ValueError("is true, but DICOM files name their patients; write `dicom: {patients: false}`")


class OwnImagesOptions(Options):
    """What can be said of any images of a user's own."""

    exclude: tuple[str, ...] = ()
    """Patterns of files and folders to leave out, such as ``*_mask*``: ``*`` is any text, ``?`` a letter. One without
    a slash is compared with each name in a path, one with a slash with the whole path."""
    source: str | None = None
    """Where the images come from, such as ``ham10000``: two datasets of one source count as one in averages and
    ranks. By default made from the path."""
    window: Window | None = None
    """The values that become black and white in images of more than 8 bits, such as ``[-160, 240]``. In DICOM files
    these are rescaled values (of CT Hounsfield units), and without it the file's own window is taken; PNG and TIFF
    files of more than 8 bits are refused without it."""
    dicom: DicomOptions | None = None
    """Whether DICOM files (.dcm, .dicom, .ima, or no ending) are images too, and how they are read; ``{}`` takes the
    defaults. Needs the package pydicom."""
    max_megapixels: float = Field(MOST_PIXELS / 1e6, gt=0, le=10_000)
    """Largest image in 10⁶ pixels. Decoding takes 8 MB of memory for each."""

    @field_validator("source")
    @classmethod
    def _short_name(cls, value: str | None) -> str | None:
        if value is not None and not is_source(value):
            raise ValueError(f"{value!r} is no short name of lower-case letters, digits, '.', '_' and '-'")
        return value

    @field_validator("exclude")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not pattern.strip("/*"):
                raise ValueError(f"{pattern!r} would leave everything out")
        return value

    @field_validator("window")
    @classmethod
    def _ascending(cls, value: Window | None) -> Window | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"{list(value)} needs the lower value first")
        return value

    @property
    def max_pixels(self) -> int:
        """Of the largest image."""
        return int(self.max_megapixels * 1e6)

    def reads(self, entry: Entry) -> bool:
        """Whether a file is by its name an image."""
        return entry.source is not None and (is_image(entry.path) or (self.dicom is not None and is_dicom(entry.path)))

    def opened(self, entry: Entry) -> ImageSource:
        """The image in a file, with what the options say of it."""
        source = entry.source
        assert isinstance(source, FileImage | ZipImage)
        if self.dicom is not None and not is_image(entry.path):
            return DicomImage(source, self.window, self.dicom.frame)
        return source if self.window is None else WindowedImage(source, self.window)


def without_excluded(place: Path, entries: list[Entry], patterns: Sequence[str]) -> tuple[list[Entry], int]:
    """The entries that no pattern means, and how many files they mean.

    Raises:
        DataError: a pattern means nothing.
    """
    if not patterns:
        return entries, 0
    meant = {pattern: [entry for entry in entries if matches(entry.path, pattern)] for pattern in patterns}
    for pattern, found in meant.items():
        # What is left out anyway may be listed too; a pattern that finds nothing else is probably misspelt.
        if not found and not is_hidden(PurePosixPath(pattern)):
            raise DataError(f"{place}: `exclude` lists {pattern!r}, which is the name of no file or folder there")
    gone = {entry.path for found in meant.values() for entry in found}
    kept = [entry for entry in entries if entry.path not in gone]
    return kept, count_files(entries) - count_files(kept)


def count_files(entries: Sequence[Entry]) -> int:
    """How many of the entries are files."""
    return sum(entry.source is not None for entry in entries)
