"""A user's own images, in one folder or zip archive with a folder for each class; no code is needed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from harness.api import (
    HIDDEN,
    IMAGE_SUFFIXES,
    Augmentation,
    ColumnKind,
    DataError,
    Dataset,
    GroupState,
    Guess,
    MetadataColumn,
    Record,
    count_left_out,
    is_dicom,
    suggestion,
    volume_fault,
)

from ._folder_entries import Entry, list_entries
from ._folder_layout import SIDES, check_classes, check_companions, companions, natural
from ._folder_metadata import metadata_of
from ._guess_folder import patient_pattern
from ._own_dicom import PatientsUnknownError, header_columns, with_headers
from ._own_options import (
    DicomOptions,
    OwnImagesOptions,
    below_the_data_root,
    count_files,
    distinct,
    source_of,
    without_excluded,
)


class MetadataTable(BaseModel):
    """A table of what is known of the images."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: str = Field(examples=["my_images.csv"])
    """A CSV file, relative to the data root."""
    image: str = "image"
    """Its column that names the image: the path below the folder or archive, or the file's name where it is unique."""
    columns: dict[str, ColumnKind] = Field(min_length=1)
    """The columns to read, each a ``category`` or a ``number``. An empty cell, ``NA`` and ``unknown`` are missing."""

    @field_validator("path")
    @classmethod
    def _below_the_data_root(cls, value: str) -> str:
        return below_the_data_root(value, "a CSV file")


class ImageFolderOptions(OwnImagesOptions):
    """Where the images are, and what their folders mean."""

    path: str = Field(examples=["my_images", "my_images.zip"])
    """The folder or zip archive, relative to the data root."""
    group_pattern: str | None = None
    """A regular expression with one group in parentheses, searched in an image's path below its class folder:
    what the parentheses match names the patient, such as ``^(P[0-9]+)_`` for ``P012_left.png``. The same name
    in two classes is the same patient."""
    one_each: bool = False
    """Whether every image shows a patient of its own, so that there are no groups to know. Without this and without
    ``group_pattern``, reports say that the patients are unknown."""
    classes: tuple[str, ...] | None = None
    """The class folders in the order of the labels. By default all, in natural order (2 before 10)."""
    ignore: tuple[str, ...] = ()
    """Folders to leave out; with ``classes``, each class folder must be in one of the two."""
    masks: Literal["refuse", "keep"] = "refuse"
    """What to do with images that are by name a mask or thumbnail of another image: refuse the folder, or keep them as
    images like the others."""
    metadata: MetadataTable | None = None
    """A table of what is known of the images, such as age, sex or site: for splits by domain and results by
    subgroup."""

    @field_validator("path")
    @classmethod
    def _below_the_data_root(cls, value: str) -> str:
        return below_the_data_root(value, "a folder or zip archive")

    @field_validator("group_pattern")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        try:
            groups = 1 if value is None else re.compile(value).groups
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression ({error})") from error
        if groups != 1:
            raise ValueError(f"{value!r} needs one group in parentheses, the patient; it has {groups}")
        return value

    @field_validator("one_each")
    @classmethod
    def _no_groups(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("group_pattern") is not None:
            raise ValueError("is true, but group_pattern names patients; keep one of the two")
        dicom = info.data.get("dicom")
        if value and isinstance(dicom, DicomOptions):
            dicom.check_one_each()
        return value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return distinct(value, "class folders")


@dataclass(frozen=True, slots=True)
class _Layout:
    """The images of each class folder, and the folders above."""

    place: Path
    depth: int
    """Number of the folder above an image that names its class: 1 below a folder for each side, else 0."""
    images: list[Entry]
    """By path."""
    classes: tuple[str, ...]
    left_out: Mapping[str, int]
    """Files that are no images of the dataset, by reason."""


class ImageFolder(Dataset):
    """Your own images, read from PATH/CLASS/IMAGE or PATH/SIDE/CLASS/IMAGE; deeper folders are read as well.

    PATH is a folder or a zip archive in the data root; in an archive, one folder around all of it is passed over.
    SIDE is train, val or test (or training, valid, validation, testing): the official split. Images are files that
    end in .bmp, .gif, .jfif, .jpeg, .jpg, .png, .tif, .tiff or .webp; other files, hidden ones and what operating
    systems and storages add are left out and counted. Folders that are not plainly laid out like this are refused.

    Source, licence and citation: the user's own. Patients with several images need ``group_pattern``, or they will
    stand on several sides of a split. A case id is an image's path below PATH.
    """

    name = "image_folder"
    title = "Folder of images"
    modality = "the user's own images"
    licence = "the user's own"
    citation = "the user's own images"
    # Of images that are not known, a mirrored one may show another class, such as the other side of the body.
    augmentation = Augmentation(flip_horizontal=False, flip_vertical=False)
    Options = ImageFolderOptions

    @classmethod
    def guess(cls, root: Path, place: Path) -> Guess | None:
        """For a folder or archive with a folder for each class.

        Raises:
            DataError: it holds images, but is not laid out like that, or volumes alone.
        """
        if not place.is_dir() and place.suffix.lower() != ".zip":
            return None
        return _guess(root, place)

    @property
    def source(self) -> str:
        """As the options say, else from the path."""
        return self._options.source or source_of(self._options.path) or self.name

    @property
    def groups(self) -> GroupState:
        """Known by ``group_pattern`` or by the headers of DICOM files, none by ``one_each``."""
        dicom = self._options.dicom
        if self._options.group_pattern is not None or (dicom is not None and dicom.patients):
            return "known"
        return "none" if self._options.one_each else "unknown"

    @property
    def classes(self) -> tuple[str, ...]:
        """As the options list them; empty where only the folders tell."""
        return self._options.classes or ()

    @property
    def files(self) -> tuple[str, ...]:
        """The folder or archive, and the table of metadata."""
        table = self._options.metadata
        return (self._options.path, *(() if table is None else (table.path,)))

    @property
    def max_pixels(self) -> int:
        """As the options say."""
        return self._options.max_pixels

    def find_classes(self, root: Path) -> tuple[str, ...]:
        """As the options list them, else the names of the class folders in natural order.

        Raises:
            DataError: the folders are not laid out as described above.
        """
        return self.classes or _layout(root, self._options).classes

    def records(self, root: Path) -> Sequence[Record]:
        """List the images by path.

        Raises:
            DataError: nothing is there, the folders are not laid out as described above or probably mean something
                else, the path leaves the data root by a link, ``group_pattern`` does not match, or the header of a
                DICOM file cannot be read or names no patient.
        """
        options = self._options
        layout = _layout(root, options)
        pattern = None if options.group_pattern is None else re.compile(options.group_pattern)
        records = [_record(layout, entry, pattern, options) for entry in layout.images]
        table = options.metadata
        if table is not None:
            known = metadata_of(root / table.path, table.image, table.columns, [record.case_id for record in records])
            records = [replace(record, metadata=known[record.case_id]) for record in records]
        own = () if table is None else tuple(table.columns)
        return with_headers(layout.place, records, options, own, pattern is not None)

    def columns(self, root: Path) -> Sequence[MetadataColumn]:
        """As the options list them, and what the headers of DICOM files say."""
        table = self._options.metadata
        own = {} if table is None else table.columns
        return [*(MetadataColumn(name, kind) for name, kind in own.items()), *header_columns(self._options, own)]

    def left_out(self, root: Path) -> Mapping[str, int]:
        """By ending, and by option."""
        return _layout(root, self._options).left_out

    @property
    def _options(self) -> ImageFolderOptions:
        assert isinstance(self.options, ImageFolderOptions)
        return self.options


def _guess(root: Path, place: Path) -> Guess | None:
    files = [entry for entry in list_entries(root, place).entries if entry.source is not None]
    given: dict[str, object] = {"path": place.relative_to(root).as_posix()}
    remarks = []
    # Many a file that is none ends in a number, or in nothing.
    if any(is_dicom(entry.path) and entry.path.suffix[1:].isalpha() for entry in files):
        given["dicom"] = {}
    options = ImageFolderOptions.model_validate({**given, "masks": "keep"})
    if not any(options.reads(entry) for entry in files):
        volume = min((entry.path for entry in files if volume_fault(entry.path)), default=None)
        if volume is not None:
            raise DataError(f"{place}: {volume} {volume_fault(volume)}")
        return None
    layout = _layout(root, options)
    masks = companions([entry.path for entry in layout.images], layout.depth)
    if masks:
        given["exclude"] = sorted(set(masks.values()))
        remarks.append(f"{len(masks):,} images are by name masks or thumbnails of others and are left out")
        layout = _layout(root, ImageFolderOptions.model_validate({**given, "exclude": (*masks.values(),)}))
    if "dicom" in given:
        try:
            ImageFolder(ImageFolderOptions.model_validate({**given, "exclude": (*masks.values(),)})).records(root)
        except PatientsUnknownError:
            given["dicom"] = {"patients": False}
            remarks.append("the DICOM files do not tell patients apart")
        else:
            remarks.append("patients are those of the DICOM files")
            return Guess(given, remarks)
    found = patient_pattern([PurePosixPath(*entry.path.parts[layout.depth + 1 :]) for entry in layout.images])
    if found is not None:
        given["group_pattern"] = found[0]
        remarks.append(
            f"names of files begin with what may be patient ids: {found[1]:,} for {len(layout.images):,} images"
        )
    return Guess(given, remarks)


def _record(layout: _Layout, entry: Entry, pattern: re.Pattern[str] | None, options: ImageFolderOptions) -> Record:
    parts = entry.path.parts
    group = None
    if pattern is not None:
        below = "/".join(parts[layout.depth + 1 :])
        found = pattern.search(below)
        if found is None or not found[1]:
            raise DataError(
                f"{layout.place}: {entry.path}: group_pattern {pattern.pattern!r} finds no patient in {below!r}; "
                "fix the pattern or rename the image"
            )
        group = found[1]
    return Record(
        case_id=str(entry.path),
        label=layout.classes.index(unicodedata.normalize("NFC", parts[layout.depth])),
        image=options.opened(entry),
        group=group,
        official=SIDES[parts[0].casefold()] if layout.depth else None,
    )


def _layout(root: Path, options: ImageFolderOptions) -> _Layout:
    place, given = root / options.path, options.classes or ()
    listing = list_entries(root, place)
    entries, excluded = without_excluded(place, listing.entries, options.exclude)
    if not place.is_dir():
        entries = _without_top(entries, options)
    known = {name for entry in entries for name in entry.path.parts[:2]}
    for name in options.ignore:
        if name not in known:
            raise DataError(f"{place}: no folder {name!r}, which `ignore` lists{suggestion(name, known)}")
    listed = entries
    entries = [entry for entry in entries if entry.path.parts[0] not in options.ignore]
    depth = _depth(place, entries, options)
    entries = [entry for entry in entries if _class_folder(entry, depth) not in options.ignore]
    images = sorted((entry for entry in entries if options.reads(entry)), key=lambda entry: str(entry.path))
    for entry in images:
        if _class_folder(entry, depth) is None:
            expected = "SIDE/CLASS/IMAGE" if depth else "CLASS/IMAGE"
            raise DataError(f"{place}: {entry.path}: outside the class folders; expected {expected}")
    # Those without an image are found as well: such a class must not pass unnoticed.
    folders = {_class_folder(entry, depth) for entry in entries} - {None}
    found = sorted((str(folder) for folder in folders), key=natural)
    filled = {entry.path.parts[depth] for entry in images}
    if not filled:
        raise DataError(_no_image(place, entries))
    classes = _classes(place, given, found, filled)
    if options.masks == "refuse":
        check_companions(place, images, depth)
    check_classes(place, images, depth, found, bool(given or options.group_pattern), options.path * place.is_dir())
    left_out = {
        **count_left_out(entry.path for entry in entries if entry.source is not None and not options.reads(entry)),
        "files that `exclude` names": excluded,
        "files that `ignore` names": count_files(listed) - count_files(entries),
        HIDDEN: listing.hidden,
    }
    return _Layout(place, depth, images, classes, {reason: count for reason, count in left_out.items() if count})


def _without_top(entries: list[Entry], options: ImageFolderOptions) -> list[Entry]:
    """The entries below the one folder that holds all images of an archive, where it is neither side nor class."""
    images = [entry.path.parts for entry in entries if options.reads(entry)]
    tops = {parts[0] for parts in images}
    if len(tops) != 1 or min(map(len, images)) < 3:
        return entries
    (top,) = tops
    if top.casefold() in SIDES or top in (options.classes or ()):
        return entries
    inside = [entry for entry in entries if entry.path.parts[0] == top and len(entry.path.parts) > 1]
    return [Entry(entry.path.relative_to(top), entry.source) for entry in inside]


def _depth(place: Path, entries: Sequence[Entry], options: ImageFolderOptions) -> int:
    tops = {entry.path.parts[0] for entry in entries if options.reads(entry)}
    sides = {top for top in tops if top.casefold() in SIDES and top not in (options.classes or ())}
    if sides and sides != tops:
        raise DataError(
            f"{place}: {min(tops - sides)!r} stands beside {min(sides)!r}, which names a side of the split; "
            "put class folders either below train, val and test or nowhere else"
        )
    return 1 if sides else 0


def _class_folder(entry: Entry, depth: int) -> str | None:
    """The class folder that an entry is or lies in; None for what stands beside these."""
    parts = entry.path.parts
    if depth and parts[0].casefold() not in SIDES:
        return None
    inside = len(parts) - depth - (0 if entry.source is None else 1)
    return parts[depth] if inside > 0 else None


def _classes(place: Path, given: Sequence[str], found: Sequence[str], filled: set[str]) -> tuple[str, ...]:
    plain = {unicodedata.normalize("NFC", name): name for name in found}
    for name, folder in plain.items():
        if given and name not in given:
            raise DataError(
                f"{place}: unknown class folder {name!r}{suggestion(name, given)}; add it to `classes` or `ignore`"
            )
        if folder not in filled:
            raise DataError(
                f"{place}: class folder {name!r} holds no image ({', '.join(IMAGE_SUFFIXES)}); "
                "fill it, remove it, or list it under `ignore`"
            )
    for name in given:
        if name not in plain:
            raise DataError(f"{place}: no folder of class {name!r}, which `classes` lists{suggestion(name, found)}")
    return tuple(given or plain)


def _no_image(place: Path, entries: Sequence[Entry]) -> str:
    files = [entry.path for entry in entries if entry.source is not None]
    volume = min((path for path in files if volume_fault(path)), default=None)
    hint = ""
    if volume is not None:
        hint = f"; {volume} {volume_fault(volume)}"
    elif any(path.suffix and is_dicom(path) for path in files):
        hint = "; DICOM files are images with the option `dicom: {}`"
    return (
        f"{place}: no image in a class folder; expected CLASS/IMAGE or SIDE/CLASS/IMAGE, "
        f"and names that end in {', '.join(IMAGE_SUFFIXES)}{hint}"
    )
