"""The contract of a dataset plugin: what lies in the raw archive, and nothing of training."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from harness.core.errors import DataError
from harness.core.origin import GroupState, fault_of
from harness.core.pluggable import Pluggable
from harness.core.plugin_options import Options
from harness.core.zip_checks import DAMAGE, implausible, is_damage, reason

OfficialSplit = Literal["train", "val", "test"]

MOST_PIXELS = 64_000_000
"""Most pixels of an image file unless a dataset raises it (``max_pixels``); decoding takes 8 bytes for each."""


class ImageSource(Protocol):
    """Where one image lies."""

    def load(self) -> npt.NDArray[np.uint8] | bytes:
        """The image: uint8, shape (height, width) or (height, width, 3), or the bytes of an image file.

        Raises:
            DataError: it is damaged or missing.
            OSError: the file system does not give it.
        """


@runtime_checkable
class SizedSource(Protocol):
    """A source that knows, before it is loaded, how much memory its file takes."""

    def encoded_bytes(self) -> int:
        """Size of the image file.

        Raises:
            DataError: it is damaged or missing.
            OSError: the file system does not tell.
        """


@runtime_checkable
class DecodingSource(Protocol):
    """A source that turns the bytes of its file into pixels itself, because they are no plain 8-bit image."""

    def decode(
        self, encoded: bytes, name: str, max_pixels: int, take: Callable[[int], None]
    ) -> tuple[npt.NDArray[np.uint8], str | None]:
        """The pixels, and a note for the dataset's card where something is to be said of the image.

        Args:
            encoded: what ``load`` has given.
            name: for messages.
            max_pixels: one whose header announces more is refused before it is decoded.
            take: called with the bytes of memory that decoding takes, before it takes them.

        Returns:
            uint8, shape (height, width) or (height, width, 3).

        Raises:
            DataError: it cannot be read, or only in several ways among which the user must choose.
        """


@dataclass(frozen=True, slots=True)
class ArrayImage:
    """An image that the archive holds already decoded."""

    array: npt.NDArray[np.uint8]

    def load(self) -> npt.NDArray[np.uint8]:
        """The array itself."""
        return self.array


@dataclass(frozen=True, slots=True)
class ZipImage:
    """An image file inside a zip archive, read without unpacking the archive."""

    archive: Path
    member: str

    def encoded_bytes(self) -> int:
        """What the archive's directory says, as far as the archive's bytes can hold it."""
        try:
            opened = _opened(self.archive)
            entry = opened.getinfo(self.member)
            why = implausible(entry, self.archive.stat().st_size)
        except (*DAMAGE, OSError) as error:
            if not _is_the_datas_fault(error):
                raise
            raise self._damaged(error) from error
        if why is not None:
            raise DataError(f"{self.archive}: {self.member}: {why}; write the archive again")
        return entry.file_size

    def load(self) -> bytes:
        """The file's bytes, with the archive's own checksum verified."""
        self.encoded_bytes()
        try:
            return _opened(self.archive).read(self.member)
        except (*DAMAGE, OSError) as error:
            if not _is_the_datas_fault(error):
                raise
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self.archive}: {self.member}: cannot be read ({reason(error)}); get the archive again")


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image file in a folder."""

    path: Path

    def encoded_bytes(self) -> int:
        """Size of the file."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            if not _is_the_datas_fault(error):
                raise
            raise self._unreadable(error) from error

    def load(self) -> bytes:
        """The file's bytes."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            if not _is_the_datas_fault(error):
                raise
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> DataError:
        return DataError(f"{self.path}: cannot be read ({error.strerror}); get the file again")


def _is_the_datas_fault(error: Exception) -> bool:
    """Whether an image is missing, closed to this user or damaged; else the file system failed, and may work again."""
    return is_damage(error) or isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)


_last_opened = threading.local()


def _opened(archive: Path) -> ZipFile:
    """The archive, open for reading; a thread keeps the last one, as opening reads all of its directory."""
    status = archive.stat()
    # A forked child shares the parent's file position and must open its own. A copy can be given size and time stamp
    # of what it replaces, but no change time.
    stamps = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
    identity = (archive, stamps, os.getpid())
    if getattr(_last_opened, "identity", None) != identity:
        _last_opened.identity = None
        _last_opened.file = ZipFile(archive)
        _last_opened.identity = identity
    opened: ZipFile = _last_opened.file
    return opened


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A raw file that anybody may download."""

    name: str
    """One of the dataset's ``files``."""
    url: str
    checksum: str | None = None
    """``md5:HEX`` or ``sha256:HEX`` as the publisher states it; None where he states none."""


@dataclass(frozen=True, slots=True)
class KaggleFile:
    """An archive of a Kaggle dataset, which is fetched with the user's own credentials."""

    name: str
    """One of the dataset's ``files``: a zip archive."""
    handle: str
    """``OWNER/DATASET`` as in the address of its page."""


Download = RemoteFile | KaggleFile


ColumnKind = Literal["category", "number"]
"""What a column of metadata holds: a word for each image, or a number."""

MetadataValue: TypeAlias = str | float | None
"""Of one image: a category, a number, or None where it is missing."""


@dataclass(frozen=True, slots=True)
class MetadataColumn:
    """A column of metadata: what is known of images beside their pixels and labels, such as age, sex or site."""

    name: str
    """Lower-case letters, digits and ``_``, a letter first."""
    kind: ColumnKind
    absent: str = ""
    """Why no image has a value, as a clause, where the raw files at hand lack the whole column; empty where they have
    it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled image of the raw archive."""

    case_id: str
    """Unique in the dataset and stable between copies of the archive."""
    label: int | tuple[int, ...]
    """Index into the dataset's classes; of a multi-label dataset a 0 or 1 for each class."""
    image: ImageSource
    group: str | None = None
    """Patient or lesion; images of one group never stand on two sides of a grouped split. None where it is not known:
    an image that is the only one of its patient has a group of its own."""
    official: OfficialSplit | None = None
    """The side on which the publisher put it, where there is one."""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict, hash=False)
    """MetadataColumn → value, of the columns that ``Dataset.columns`` lists; a column that is left out is missing."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes that keep the label, drawn for each training image anew."""

    flip_horizontal: bool = True
    flip_vertical: bool = False
    rotate: float = 10.0
    """Largest rotation either way, in degrees."""
    zoom: float = 0.1
    """Largest relative change of size either way."""
    shift: float = 0.05
    """Largest translation either way, as a fraction of the side."""
    brightness: float = 0.1
    """Largest additive change either way, as a fraction of full scale."""
    contrast: float = 0.1
    """Largest relative change of contrast either way."""


@dataclass(frozen=True, slots=True)
class Guess:
    """How a dataset would read a folder or file of a user's own."""

    options: Mapping[str, object]
    """Its options in the sweep file."""
    remarks: Sequence[str] = ()
    """What was taken for what, and what may be meant otherwise; a sentence each."""


# The class attribute of the same name hides the model inside the class.
DatasetOptions = Options


class Dataset(Pluggable, ABC):
    """A source of labelled images.

    The docstring of a subclass names source, licence and citation, and says what to download and where it goes.
    """

    kind = "dataset"
    required = ("title", "modality", "licence", "citation")

    title: ClassVar[str]
    modality: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    ordinal: ClassVar[bool] = False
    """Whether the order of the classes means something (quadratic kappa is then reported)."""
    multi_label: ClassVar[bool] = False
    """Whether an image may bear several classes at once, or none; each is then scored by itself."""
    augmentation: ClassVar[Augmentation] = Augmentation()
    Options: ClassVar[type[Options]] = Options

    @classmethod
    def fault(cls) -> str | None:
        """That its classes are ordered and occur together, or what it says wrongly of where its images come from."""
        if cls.ordinal and cls.multi_label:
            return "is ordinal and multi_label; classes that occur together have no order"
        # What options decide, by a property, is looked at where there are options.
        said = {name: getattr(cls, name) for name in ("source", "groups", "official_by_patient")}
        fixed = {name: value for name, value in said.items() if not hasattr(type(value), "__get__")}
        return fault_of(**{"source": "any", "groups": "unknown", "official_by_patient": False, **fixed})

    @classmethod
    def guess(cls, root: Path, place: Path) -> Guess | None:
        """The options with which this dataset would read what a user has; None where that is not its kind of data.

        Args:
            root: the data root, to which paths in options are relative.
            place: a folder or file below it.

        Raises:
            DataError: it is this dataset's kind of data, but not in a form that can be read.
        """
        return None

    def __init__(self, options: DatasetOptions | None = None) -> None:
        self.options = self.Options() if options is None else options

    @property
    def source(self) -> str:
        """Where the images come from, by a short name such as ``ham10000``; by default the plugin's own.

        Datasets of one source show the same patients, perhaps at another size or from another side, and count once
        wherever a report counts datasets. Lower-case letters, digits, ``.``, ``_`` and ``-``.
        """
        return self.name.lower()

    @property
    def groups(self) -> GroupState:
        """What is known of which images show one patient or lesion, unless every record has a group, which says it.

        ``known``: records have groups. ``none``: every image is by design a unit of its own. ``unknown``: nobody can
        tell, or the archive does not.
        """
        return "unknown"

    @property
    def official_by_patient(self) -> bool:
        """Whether, as its publisher says, no patient of the official test side is on another side.

        Such a split is taken where a sweep file asks for none: it knows patients, whom the archive may not name.
        """
        return False

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels; never reordered. Empty: ``find_classes`` tells."""

    @property
    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """Names of the raw files or folders below the data root; empty for data that a library bundles."""

    @property
    def optional_files(self) -> tuple[str, ...]:
        """Names of further files below the data root that ``records`` reads where they are there, such as metadata."""
        return ()

    @property
    def downloads(self) -> tuple[Download, ...]:
        """Where the raw files come from, as far as their licence lets a program fetch them."""
        return ()

    @property
    def max_pixels(self) -> int:
        """Most pixels of an image file; one with more is refused by its header, before it is decoded."""
        return MOST_PIXELS

    def find_classes(self, root: Path) -> tuple[str, ...]:
        """Names of the classes in the order of the labels, where only the raw files tell them.

        Raises:
            DataError: a file is missing or not as published.
        """
        return self.classes

    def left_out(self, root: Path) -> Mapping[str, int]:
        """How many files of the raw archive ``records`` leaves out, by reason, for the dataset's card.

        Raises:
            DataError: as ``records``.
        """
        return {}

    def columns(self, root: Path) -> Sequence[MetadataColumn]:
        """The columns of metadata that records may have, those too that the raw files at hand lack.

        Metadata change neither pixels nor labels, and no training sees them: they divide images by domain, and results
        by subgroup.

        Raises:
            DataError: as ``records``.
        """
        return ()

    @abstractmethod
    def records(self, root: Path) -> Sequence[Record]:
        """List every image of the raw archive, in an order that depends on the archive alone.

        Args:
            root: the folder that holds ``files``.

        Raises:
            DataError: a file is missing (naming it and where to get it) or not as published.
        """
