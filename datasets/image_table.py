"""A user's own images with a table that says what they show; no code is needed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from harness.api import (
    Augmentation,
    ColumnKind,
    Dataset,
    GroupState,
    Guess,
    MetadataColumn,
    Record,
    column_name,
)

from ._guess_table import guess_table
from ._own_dicom import header_columns, with_headers
from ._own_options import DicomOptions, OwnImagesOptions, below_the_data_root
from ._table_rows import Columns, read_rows


class ImageTableOptions(OwnImagesOptions):
    """Where table and images are, and what the columns mean."""

    table: str = Field(examples=["my_images.csv"])
    """A CSV, TSV or Parquet file with a row for each image, relative to the data root."""
    images: str = Field(examples=["my_images", "my_images.zip"])
    """The folder or zip archive with the images, relative to the data root; all of it is searched."""
    file: str = "file"
    """The column that names the image: its path or the end of it, with or without ending, as far as that is unique."""
    label: str | tuple[str, ...] = "label"
    """The column of the class; or several columns of 0 and 1, one for each class."""
    separator: str | None = Field(None, min_length=1, max_length=8)
    """What separates several labels in one cell, such as ``|``: an image may then bear several classes at once."""
    exclusive: bool = False
    """Whether exactly one of several columns is 1, so that an image bears one class."""
    map: dict[str, str | None] | None = None
    """Class of each label (or column) of the table, such as ``{mel: melanoma, bcc: other}``; every label must be there.
    ``null`` is no class: an image with one label is left out, one of several labels bears the others."""
    classes: tuple[str, ...] | None = None
    """The classes in the order of the labels. By default those found, in natural order, or the columns in theirs."""
    patient: str | None = None
    """The column of the patient, who stays on one side of a split. Values are kept as group ids in records."""
    group: str | None = None
    """The column of the lesion or other group, where there is no patient or within one."""
    split: str | None = None
    """The column of the official side: train, val or test (or training, valid, validation, testing)."""
    metadata: dict[str, ColumnKind] = Field(default_factory=dict)
    """Further columns of what is known of the images, each a ``category`` or a ``number``. ``Patient Age`` is called
    patient_age. An empty cell, ``NA`` and ``unknown`` are missing."""
    one_each: bool = False
    """Whether every image shows a patient of its own, so that there are no groups to know."""

    @field_validator("table")
    @classmethod
    def _table_below(cls, value: str) -> str:
        return below_the_data_root(value, "a table")

    @field_validator("images")
    @classmethod
    def _images_below(cls, value: str) -> str:
        return below_the_data_root(value, "a folder or zip archive")

    @field_validator("label")
    @classmethod
    def _several(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(value, str) and (len(value) < 2 or len(set(value)) != len(value)):
            raise ValueError(f"needs one column, or at least two different ones, got {list(value)}")
        return value

    @field_validator("separator")
    @classmethod
    def _one_column(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not isinstance(info.data.get("label"), str):
            raise ValueError("separates labels in one cell, but `label` lists several columns; keep one of the two")
        return value

    @field_validator("exclusive")
    @classmethod
    def _columns(cls, value: bool, info: ValidationInfo) -> bool:
        if value and isinstance(info.data.get("label"), str):
            raise ValueError("is about several columns of 0 and 1; list them under `label`")
        return value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = None if value is None else tuple(unicodedata.normalize("NFC", name) for name in value)
        if names is not None and (len(set(names)) != len(names) or len(names) < 2):
            raise ValueError(f"needs at least two different classes, got {list(names)}")
        return names

    @field_validator("one_each")
    @classmethod
    def _no_groups(cls, value: bool, info: ValidationInfo) -> bool:
        given = [name for name in ("patient", "group") if info.data.get(name) is not None]
        if value and given:
            raise ValueError(f"is true, but {given[0]} names groups; keep one of the two")
        dicom = info.data.get("dicom")
        if value and isinstance(dicom, DicomOptions) and dicom.patients:
            raise ValueError("is true, but DICOM files name their patients; write `dicom: {patients: false}`")
        return value


class ImageTable(Dataset):
    """Your own images in a folder or zip archive, with a CSV, TSV or Parquet table of what they show.

    A row names an image, its label or labels, and if known its patient, its side of the official split, and metadata.
    Files that no row names are left out and counted.

    Source, licence and citation: the user's own. Patients with several images need ``patient``, or they will stand on
    several sides of a split. A case id is an image's path below the folder or archive.
    """

    name = "image_table"
    title = "Table of images"
    modality = "the user's own images"
    licence = "the user's own"
    citation = "the user's own images"
    # Of images that are not known, a mirrored one may show another class, such as the other side of the body.
    augmentation = Augmentation(flip_horizontal=False, flip_vertical=False)
    Options = ImageTableOptions

    @classmethod
    def guess(cls, root: Path, place: Path) -> Guess | None:
        """For a table, or a folder with one in it, of which a column names images beside it."""
        return guess_table(root, place)

    @property
    def multi_label(self) -> bool:  # type: ignore[override]
        """By a separator, or columns that are not exclusive."""
        options = self._options
        return options.separator is not None or not (isinstance(options.label, str) or options.exclusive)

    @property
    def source(self) -> str:
        """As the options say, else from the path of the images."""
        path = self._options.images.removesuffix(".zip").lower()
        return self._options.source or re.sub(r"[^a-z0-9._-]", "-", path).lstrip("._-")[:64] or self.name

    @property
    def groups(self) -> GroupState:
        """Known by a column or by the headers of DICOM files, none by ``one_each``."""
        options = self._options
        if options.patient or options.group or (options.dicom is not None and options.dicom.patients):
            return "known"
        return "none" if options.one_each else "unknown"

    @property
    def classes(self) -> tuple[str, ...]:
        """As the options list them; empty where only the table tells."""
        return self._options.classes or ()

    @property
    def files(self) -> tuple[str, ...]:
        """The table, unless it is in the folder of images, and the images."""
        options = self._options
        inside = options.table.startswith(f"{options.images}/")
        return (options.images,) if inside else (options.table, options.images)

    @property
    def max_pixels(self) -> int:
        """As the options say."""
        return int(self._options.max_megapixels * 1e6)

    def find_classes(self, root: Path) -> tuple[str, ...]:
        """As the options list them, else those of the table.

        Raises:
            DataError: as ``records``.
        """
        return self.classes or read_rows(root, self._options, self._columns).classes

    def records(self, root: Path) -> Sequence[Record]:
        """List the images by path.

        Raises:
            DataError: table or images are missing, a column is not there, or a row is wrong: it names no image, one
                that is not there, or one that another row names; a cell that is needed is empty; a label, side or
                number is none; or a lesion has two patients.
        """
        options = self._options
        found = read_rows(root, options, self._columns)
        own = tuple(map(column_name, options.metadata))
        return with_headers(root / options.images, found.records, options, own, bool(options.patient or options.group))

    def columns(self, root: Path) -> Sequence[MetadataColumn]:
        """As the options list them, and what the headers of DICOM files say."""
        own = {column_name(header): kind for header, kind in self._options.metadata.items()}
        named = [MetadataColumn(column_name(header), kind) for header, kind in self._options.metadata.items()]
        return [*named, *header_columns(self._options, own)]

    def left_out(self, root: Path) -> Mapping[str, int]:
        """Files that no row names, and rows that the options leave out."""
        return read_rows(root, self._options, self._columns).left_out

    @property
    def _columns(self) -> Columns:
        """What the columns mean."""
        options = self._options
        labels = (options.label,) if isinstance(options.label, str) else options.label
        return Columns(
            table=options.table,
            images=options.images,
            file=options.file,
            labels=labels,
            separator=options.separator,
            several=self.multi_label,
            map=options.map,
            classes=options.classes,
            patient=options.patient,
            group=options.group,
            split=options.split,
            metadata=options.metadata,
        )

    @property
    def _options(self) -> ImageTableOptions:
        assert isinstance(self.options, ImageTableOptions)
        return self.options
