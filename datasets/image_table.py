"""A user's own images with a table that says what they show; no code is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.api import (
    Augmentation,
    Dataset,
    GroupState,
    Guess,
    MetadataColumn,
    Record,
    column_name,
)

from ._guess_table import guess_table
from ._own_dicom import header_columns, with_headers
from ._own_options import source_of
from ._table_options import ImageTableOptions
from ._table_rows import read_rows


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
        return self._options.several

    @property
    def source(self) -> str:
        """As the options say, else from the path of the images."""
        return self._options.source or source_of(self._options.images) or self.name

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
        return self._options.max_pixels

    def find_classes(self, root: Path) -> tuple[str, ...]:
        """As the options list them, else those of the table.

        Raises:
            DataError: as ``records``.
        """
        return self.classes or read_rows(root, self._options).classes

    def records(self, root: Path) -> Sequence[Record]:
        """List the images by path.

        Raises:
            DataError: table or images are missing, a column is not there, or a row is wrong: it names no image, one
                that is not there, or one that another row names; a cell that is needed is empty; a label, side or
                number is none; or a lesion has two patients.
        """
        options = self._options
        found = read_rows(root, options)
        own = tuple(map(column_name, options.metadata))
        return with_headers(root / options.images, found.records, options, own, bool(options.patient or options.group))

    def columns(self, root: Path) -> Sequence[MetadataColumn]:
        """As the options list them, and what the headers of DICOM files say."""
        own = {column_name(header): kind for header, kind in self._options.metadata.items()}
        named = [MetadataColumn(column_name(header), kind) for header, kind in self._options.metadata.items()]
        return [*named, *header_columns(self._options, own)]

    def left_out(self, root: Path) -> Mapping[str, int]:
        """Files that no row names, and rows that the options leave out."""
        return read_rows(root, self._options).left_out

    @property
    def _options(self) -> ImageTableOptions:
        assert isinstance(self.options, ImageTableOptions)
        return self.options
