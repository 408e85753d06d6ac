"""Options of a user's own images with a table: where both are, and what the columns mean."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from harness.api import ColumnKind

from ._own_options import DicomOptions, OwnImagesOptions, below_the_data_root, distinct


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
        return distinct(value, "classes")

    @field_validator("one_each")
    @classmethod
    def _no_groups(cls, value: bool, info: ValidationInfo) -> bool:
        given = [name for name in ("patient", "group") if info.data.get(name) is not None]
        if value and given:
            raise ValueError(f"is true, but {given[0]} names groups; keep one of the two")
        dicom = info.data.get("dicom")
        if value and isinstance(dicom, DicomOptions):
            dicom.check_one_each()
        return value

    @property
    def labels(self) -> tuple[str, ...]:
        """The column of the label, or several of 0 and 1."""
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def several(self) -> bool:
        """Whether an image may bear several classes: by a separator, or columns that are not exclusive."""
        return self.separator is not None or not (isinstance(self.label, str) or self.exclusive)
