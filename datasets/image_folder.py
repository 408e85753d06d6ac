"""A user's own images, in one folder or zip archive with a folder for each class; no code is needed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from harness.api import (
    HIDDEN,
    IMAGE_SUFFIXES,
    MOST_PIXELS,
    Augmentation,
    ColumnKind,
    DataError,
    Dataset,
    GroupState,
    MetadataColumn,
    Options,
    Record,
    count_left_out,
    is_hidden,
    is_source,
    suggestion,
)

from ._folder_entries import Entry, list_entries
from ._folder_layout import SIDES, check_classes, check_companions, matches
from ._folder_metadata import metadata_of


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


class ImageFolderOptions(Options):
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
    source: str | None = None
    """Where the images come from, such as ``ham10000``: two folders of one source count as one dataset in averages and
    ranks. By default made from the path."""
    classes: tuple[str, ...] | None = None
    """The class folders in the order of the labels. By default all, in natural order (2 before 10)."""
    ignore: tuple[str, ...] = ()
    """Folders to leave out; with ``classes``, each class folder must be in one of the two."""
    exclude: tuple[str, ...] = ()
    """Patterns of files and folders to leave out, such as ``*_mask*``: ``*`` is any text, ``?`` a letter. One without
    a slash is compared with each name in a path, one with a slash with the whole path below PATH."""
    masks: Literal["refuse", "keep"] = "refuse"
    """What to do with images that are by name a mask or thumbnail of another image: refuse the folder, or keep them as
    images like the others."""
    metadata: MetadataTable | None = None
    """A table of what is known of the images, such as age, sex or site: for splits by domain and results by
    subgroup."""
    max_megapixels: float = Field(MOST_PIXELS / 1e6, gt=0, le=10_000)
    """Largest image in 10⁶ pixels. Decoding takes 8 MB of memory for each."""

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
        return value

    @field_validator("source")
    @classmethod
    def _short_name(cls, value: str | None) -> str | None:
        if value is not None and not is_source(value):
            raise ValueError(f"{value!r} is no short name of lower-case letters, digits, '.', '_' and '-'")
        return value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        # What a keyboard writes; macOS stores the same name in another form.
        names = None if value is None else tuple(unicodedata.normalize("NFC", name) for name in value)
        if names is not None and (len(set(names)) != len(names) or len(names) < 2):
            raise ValueError(f"needs at least two different class folders, got {list(names)}")
        return names

    @field_validator("exclude")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not pattern.strip("/*"):
                raise ValueError(f"{pattern!r} would leave everything out")
        return value


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

    @property
    def source(self) -> str:
        """As the options say, else from the path."""
        path = self._options.path.removesuffix(".zip").lower()
        return self._options.source or re.sub(r"[^a-z0-9._-]", "-", path).lstrip("._-")[:64] or self.name

    @property
    def groups(self) -> GroupState:
        """Known by ``group_pattern``, none by ``one_each``."""
        if self._options.group_pattern is not None:
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
        return int(self._options.max_megapixels * 1e6)

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
                else, the path leaves the data root by a link, or ``group_pattern`` does not match.
        """
        layout = _layout(root, self._options)
        pattern = None if self._options.group_pattern is None else re.compile(self._options.group_pattern)
        records = [_record(layout, entry, pattern) for entry in layout.images]
        table = self._options.metadata
        if table is None:
            return records
        known = metadata_of(root / table.path, table.image, table.columns, [record.case_id for record in records])
        return [replace(record, metadata=known[record.case_id]) for record in records]

    def columns(self, root: Path) -> Sequence[MetadataColumn]:
        """As the options list them."""
        table = self._options.metadata
        return () if table is None else [MetadataColumn(name, kind) for name, kind in table.columns.items()]

    def left_out(self, root: Path) -> Mapping[str, int]:
        """By ending, and by option."""
        return _layout(root, self._options).left_out

    @property
    def _options(self) -> ImageFolderOptions:
        assert isinstance(self.options, ImageFolderOptions)
        return self.options


def _record(layout: _Layout, entry: Entry, pattern: re.Pattern[str] | None) -> Record:
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
    assert entry.source is not None
    return Record(
        case_id=str(entry.path),
        label=layout.classes.index(unicodedata.normalize("NFC", parts[layout.depth])),
        image=entry.source,
        group=group,
        official=SIDES[parts[0].casefold()] if layout.depth else None,
    )


def _layout(root: Path, options: ImageFolderOptions) -> _Layout:
    place, given = root / options.path, options.classes or ()
    listing = list_entries(root, place)
    entries, excluded = _without_excluded(place, listing.entries, options.exclude)
    if not place.is_dir():
        entries = _without_top(entries, given)
    known = {name for entry in entries for name in entry.path.parts[:2]}
    for name in options.ignore:
        if name not in known:
            raise DataError(f"{place}: no folder {name!r}, which `ignore` lists{suggestion(name, known)}")
    listed = entries
    entries = [entry for entry in entries if entry.path.parts[0] not in options.ignore]
    depth = _depth(place, entries, given)
    entries = [entry for entry in entries if _class_folder(entry, depth) not in options.ignore]
    images = sorted((entry for entry in entries if entry.is_image), key=lambda entry: str(entry.path))
    for entry in images:
        if _class_folder(entry, depth) is None:
            expected = "SIDE/CLASS/IMAGE" if depth else "CLASS/IMAGE"
            raise DataError(f"{place}: {entry.path}: outside the class folders; expected {expected}")
    # Those without an image are found as well: such a class must not pass unnoticed.
    folders = {_class_folder(entry, depth) for entry in entries} - {None}
    found = sorted((str(folder) for folder in folders), key=_natural)
    filled = {entry.path.parts[depth] for entry in images}
    classes = _classes(place, given, found, filled)
    if options.masks == "refuse":
        check_companions(place, images, depth)
    check_classes(place, images, depth, found, bool(given or options.group_pattern), options.path * place.is_dir())
    left_out = {
        **count_left_out(entry.path for entry in entries if entry.source is not None),
        "files that `exclude` names": excluded,
        "files that `ignore` names": _files(listed) - _files(entries),
        HIDDEN: listing.hidden,
    }
    return _Layout(place, depth, images, classes, {reason: count for reason, count in left_out.items() if count})


def _without_excluded(place: Path, entries: list[Entry], patterns: Sequence[str]) -> tuple[list[Entry], int]:
    """The entries that no pattern means, and how many files they mean."""
    if not patterns:
        return entries, 0
    meant = {pattern: [entry for entry in entries if matches(entry.path, pattern)] for pattern in patterns}
    for pattern, found in meant.items():
        # What is left out anyway may be listed too; a pattern that finds nothing else is probably misspelt.
        if not found and not is_hidden(PurePosixPath(pattern)):
            raise DataError(f"{place}: `exclude` lists {pattern!r}, which is the name of no file or folder there")
    gone = {entry.path for found in meant.values() for entry in found}
    kept = [entry for entry in entries if entry.path not in gone]
    return kept, _files(entries) - _files(kept)


def _files(entries: Sequence[Entry]) -> int:
    return sum(entry.source is not None for entry in entries)


def _without_top(entries: list[Entry], given: Sequence[str]) -> list[Entry]:
    """The entries below the one folder that holds all images of an archive, where it is neither side nor class."""
    images = [entry.path.parts for entry in entries if entry.is_image]
    tops = {parts[0] for parts in images}
    if len(tops) != 1 or min(map(len, images)) < 3:
        return entries
    (top,) = tops
    if top.casefold() in SIDES or top in given:
        return entries
    inside = [entry for entry in entries if entry.path.parts[0] == top and len(entry.path.parts) > 1]
    return [Entry(entry.path.relative_to(top), entry.source) for entry in inside]


def _depth(place: Path, entries: Sequence[Entry], given: Sequence[str]) -> int:
    tops = {entry.path.parts[0] for entry in entries if entry.is_image}
    sides = {top for top in tops if top.casefold() in SIDES and top not in given}
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
    if not filled:
        raise DataError(
            f"{place}: no image in a class folder; expected CLASS/IMAGE or SIDE/CLASS/IMAGE, "
            f"and names that end in {', '.join(IMAGE_SUFFIXES)}"
        )
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


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts the numbers in names as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts] + [(1, 0, name)]
