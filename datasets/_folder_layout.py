"""Whether folders of images are plainly laid out as PATH/CLASS/IMAGE, and what they probably are where they are not."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from harness.api import DataError, OfficialSplit

from ._folder_entries import Entry

SIDES: dict[str, OfficialSplit] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Folders above the class folders that name a side, in small letters; capital ones are understood too."""

_PARTS_OF_A_STUDY = re.compile(
    r"(train|training|val|valid|validation|test|testing|dev|eval|evaluation|holdout)[ _.-]?"
    r"(set|sets|data|dataset|images|imgs|split|folder)?[ _.-]?[0-9]*|folds?[ _.-]?[0-9]+|cv[ _.-]?[0-9]+"
)
"""Names, in small letters, of sides that are not understood, and of folds."""

_ANNOTATIONS = (
    r"masks?|segs?|segmentations?|segmentation[ _-]?masks?|gts?|ground[ _-]?truths?|annotations?|annotated|labell?ed"
    r"|overlays?|contours?|heatmaps?|bbox(?:es)?|thumbs?|thumbnails?|previews?"
)
_ANNOTATION_FOLDER = re.compile(rf"(?:[a-z0-9]+[ _.-])?(?:{_ANNOTATIONS})")
_KIND_FOLDER = re.compile(rf"(?:{_ANNOTATIONS})|images?|imgs?|labels?")
"""Names of folders, in small letters, that say what kind of file they hold and not of which class it is."""
_BESIDE = re.compile(rf"(.+?)[ _.-]+(?:{_ANNOTATIONS}|labels?)(?:[ _.-]?[0-9]+)?")
"""The stem, in small letters, of what is drawn of another image."""


def canonical(name: str) -> str:
    """The form that is the same for spellings that a reader takes for one: case, Unicode forms, spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(re.sub(r"[\s_-]+", " ", folded).split())


def matches(path: PurePosixPath, pattern: str) -> bool:
    """Whether a pattern means a path: all of it where the pattern has a slash, else one of its names."""
    if "/" in pattern:
        return fnmatchcase(str(path), pattern.strip("/")) or fnmatchcase(str(path), f"{pattern.strip('/')}/*")
    return any(fnmatchcase(part, pattern) for part in path.parts)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts the numbers in names as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts] + [(1, 0, name)]


def check_companions(place: Path, images: Sequence[Entry], depth: int) -> None:
    """Raise DataError where images are masks or thumbnails of others, by their own name or that of a folder.

    Args:
        place: for the message.
        images: those that would be read.
        depth: number of the folder above an image that names its class.
    """
    found = companions([entry.path for entry in images], depth)
    if found:
        first = next(iter(found))
        patterns = list(dict.fromkeys(found.values()))[:3]
        count = f"{len(found):,} of {len(images):,} images are" if len(found) > 1 else "1 image is"
        raise DataError(
            f"{place}: {count} by name a mask or thumbnail of another image, such as {str(first)!r}; leave them "
            f"out with `exclude: {patterns}`, or write `masks: keep` if they are images like the others"
        )


def companions(images: Sequence[PurePosixPath], depth: int) -> dict[PurePosixPath, str]:
    """The images that are by name masks or thumbnails of others, each with a pattern that leaves it out."""
    stems: dict[PurePosixPath, set[str]] = defaultdict(set)
    for path in images:
        stems[path.parent].add(path.stem.lower())
    found = {}
    for path in images:
        beside = _BESIDE.fullmatch(path.stem.lower())
        folders = [part for part in path.parts[depth + 1 : -1] if _ANNOTATION_FOLDER.fullmatch(part.lower())]
        if folders:
            found[path] = folders[0]
        elif beside is not None and beside[1] in stems[path.parent]:
            # What follows the other image's name: "_mask" of "benign (1)_mask".
            found[path] = f"*{path.stem[len(beside[1]) :].rstrip('0123456789').rstrip('_-. ')}*"
    return found


def check_classes(
    place: Path, images: Sequence[Entry], depth: int, found: Sequence[str], sure: bool, own_option: str
) -> None:
    """Raise DataError where the class folders are probably something else.

    Args:
        place: for the message.
        images: those that would be read.
        depth: as above.
        found: names of the class folders.
        sure: whether the user has listed the classes, who then knows.
        own_option: what would name a folder further inside, for the message; empty for an archive.
    """
    _check_spellings(place, found)
    if len(found) == 1:
        raise DataError(f"{place}: {_one_class(found[0], images, depth, own_option)}")
    if sure:
        return
    for name in found:
        if _KIND_FOLDER.fullmatch(name.lower()):
            raise DataError(
                f"{place}: class folder {name!r}: its name says a kind of file, not a class; expected CLASS/IMAGE; "
                "list it under `ignore`, or all class folders under `classes` if it is one"
            )
        if not depth and _PARTS_OF_A_STUDY.fullmatch(name.lower()):
            raise DataError(
                f"{place}: class folder {name!r}: its name says a part of a study, not a class; name the folders "
                "of sides train, val and test, or list all class folders under `classes` if it is one"
            )
    _check_below(place, images, depth)


def _check_spellings(place: Path, found: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name in found:
        other = first.setdefault(canonical(name), name)
        if other != name:
            raise DataError(
                f"{place}: class folders {other!a} and {name!a} differ only in case, spaces or Unicode form; make them "
                "one folder, or list one under `ignore`"
            )


def _one_class(name: str, images: Sequence[Entry], depth: int, own_option: str) -> str:
    below = sorted(_folders_below(images, depth)[name])
    line = f"only one class folder, {name!r}; at least two are needed"
    if len(below) < 2:
        return line
    inside = f"{name!r} holds the folders {_some(below)}"
    if own_option:
        return f"{line}; {inside}: if these are the classes, write `path: {own_option}/{name}`"
    return f"{line}; {inside}: if these are the classes, pack the archive with at most one folder around them"


def _check_below(place: Path, images: Sequence[Entry], depth: int) -> None:
    """Raise DataError where sides or classes are probably one folder further down."""
    below = _folders_below(images, depth)
    direct = {entry.path.parts[depth] for entry in images if len(entry.path.parts) == depth + 2}
    flat = sorted(name for name, folders in below.items() if not folders)
    nested = {name: folders for name, folders in below.items() if folders and name not in direct}
    remedy = "list the class folders under `classes` if they are right"
    for name, folders in nested.items():
        if all(folder.casefold() in SIDES for folder in folders):
            raise DataError(
                f"{place}: class folder {name!r} holds {_some(sorted(folders))}, which name sides of the split; put "
                f"the class folders below these (SIDE/CLASS/IMAGE), or {remedy}"
            )
    several = {name: frozenset(folders) for name, folders in nested.items() if len(folders) > 1}
    if not several:
        return
    name = min(several)
    holds = f"folder {name!r} holds the folders {_some(sorted(several[name]))}"
    if flat:
        raise DataError(
            f"{place}: {holds}, but {flat[0]!r} holds images; expected CLASS/IMAGE; make them alike, or {remedy}"
        )
    if len(several) == len(below) and len(set(several.values())) == 1:
        raise DataError(f"{place}: {holds}, and so does every other one: these may be the classes; {remedy}")


def _folders_below(images: Sequence[Entry], depth: int) -> Mapping[str, set[str]]:
    """Of each class folder, the folders directly in it that hold images, also further down."""
    below: dict[str, set[str]] = defaultdict(set)
    for entry in images:
        parts = entry.path.parts
        below[parts[depth]].update(parts[depth + 1 : -1][:1])
    return below


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(repr(name) for name in names[:3]) + more
