"""What the columns of a user's own table probably mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.api import (
    TABLE_SUFFIXES,
    CellTable,
    DataError,
    Guess,
    category,
    column_name,
    is_dicom,
    is_hidden,
    is_image,
    load_table,
    quantity,
)

from ._folder_entries import list_entries
from ._folder_layout import SIDES, canonical, companions
from ._table_rows import NO, YES, FileIndex

_LABEL = re.compile(r"(.*_)?(labels?|class|classes|dx|diagnos[ie]s|target|y|findings?|grade|category|categories)(_.*)?")
_PATIENT = re.compile(r"(patient|subject|case|person|participant|pat|subj|pid|mrn)(_?(id|no|nr|number|name))?")
_GROUP = re.compile(r"(lesion|nodule|study|exam|visit|series|group)(_?(id|no|nr|number|uid))?")
_SEPARATORS = ("|", ";", ",")
_MOST_CLASSES = 50
_MOST_GRADES = 10
"""A column of more different numbers is a quantity."""
_LEAST_FOUND = 0.5
"""A column names images if at least this share of its cells does."""
_TAKEN = frozenset(("case_id", "group", "label", "set", "severity"))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the images of a table may be, and which of them a column names."""

    images: Path
    column: str
    named: tuple[PurePosixPath, ...]


def guess_table(root: Path, place: Path) -> Guess | None:
    """The options with which ``image_table`` would read a table or a folder with one; None where there is none.

    Raises:
        DataError: the table cannot be read, no column of it names images, or none can be a label.
    """
    tables = _tables(place)
    if not tables:
        return None
    faults: list[str] = []
    best: tuple[CellTable, _Place] | None = None
    for path in tables:
        try:
            table = load_table(path)
            at = _images(root, table)
        except DataError as error:
            faults.append(str(error))
            continue
        if best is None or len(at.named) > len(best[1].named):
            best = table, at
    if best is None:
        raise DataError(faults[0])
    table, at = best
    remarks = [f"{other.name} is a table too" for other in tables if other != table.path]
    return _guess(root, table, at, remarks)


def _tables(place: Path) -> list[Path]:
    if place.is_dir():
        inside = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
        return [path for path in inside if path.suffix.lower() in TABLE_SUFFIXES]
    return [place] if place.suffix.lower() in TABLE_SUFFIXES else []


def _images(root: Path, table: CellTable) -> _Place:
    """The folder or archive of which a column names the most files."""
    home = table.path.parent
    beside = [path for path in sorted(home.iterdir()) if path.is_dir() or path.suffix.lower() == ".zip"]
    candidates = [path for path in beside if not is_hidden(PurePosixPath(path.name))]
    candidates += [home] if home != root else []
    best = _Place(home, "", ())
    for images in candidates:
        try:
            index = FileIndex(images, list_entries(root, images).entries)
        except DataError:
            # Something beside the table that nobody means; if it is meant, the column that names it finds nothing.
            continue
        for column in _single(table):
            hits = [index.find(cell) for cell in table.column(column) if cell]
            files = [hit[0].path for hit in hits if len(hit) == 1]
            named = tuple(path for path in files if is_image(path) or is_dicom(path))
            best = max(best, _Place(images, column, named), key=lambda one: len(one.named))
    if len(best.named) < max(1, _LEAST_FOUND * len(table.rows)):
        raise DataError(f"{table.path}: no column names image files in a folder or zip archive beside the table")
    return best


def _single(table: CellTable) -> list[str]:
    """The columns that can be told apart by name."""
    return [name for name in table.header if name and table.header.count(name) == 1]


def _guess(root: Path, table: CellTable, at: _Place, remarks: list[str]) -> Guess:
    options: dict[str, object] = {
        "table": table.path.relative_to(root).as_posix(),
        "images": at.images.relative_to(root).as_posix(),
        "file": at.column,
    }
    missing = len(table.rows) - len(at.named)
    if missing:
        remarks.append(f"{missing:,} of {len(table.rows):,} rows name no image that is there")
    if any(is_dicom(path) and not is_image(path) for path in at.named):
        options["dicom"] = {}
    masks = companions(at.named, -1)
    if masks:
        options["exclude"] = sorted(set(masks.values()))
        remarks.append(f"{len(masks):,} images are by name masks or thumbnails of others and are left out")
    free = [name for name in _single(table) if name != at.column]
    for option, pattern in (("patient", _PATIENT), ("group", _GROUP)):
        named = [name for name in free if pattern.fullmatch(column_name(name)) and all(table.column(name))]
        if named:
            options[option] = named[0]
            free.remove(named[0])
            remarks.append(f"column {named[0]!r} is taken for the {option}: {_repeated(table.column(named[0]))}")
    if "patient" in options and "dicom" in options:
        remarks.append("the patients of the table are taken, not those of the DICOM files")
    if "patient" in options and "group" in options and _crossing(table, str(options["patient"]), str(options["group"])):
        free.append(str(options.pop("group")))
        remarks.append("the same group is in rows of different patients, so it is not taken")
    splits = [name for name in free if {cell.casefold() for cell in table.column(name)} <= SIDES.keys()]
    if splits:
        options["split"] = splits[0]
        free.remove(splits[0])
    free = _label(table, free, options, remarks)
    metadata = _metadata(table, free)
    if metadata:
        options["metadata"] = metadata
    return Guess(options, remarks)


def _repeated(cells: Sequence[str]) -> str:
    return f"{len(set(cells)):,} different in {len(cells):,} rows"


def _crossing(table: CellTable, patient: str, group: str) -> bool:
    pairs = {*zip(table.column(group), table.column(patient), strict=True)}
    return len(pairs) > len(set(table.column(group)))


def _label(table: CellTable, free: list[str], options: dict[str, object], remarks: list[str]) -> list[str]:
    """Set the options of the label; returns the columns that are still free."""
    candidates = [name for name in free if _classes(table.column(name))]
    named = [name for name in candidates if _LABEL.fullmatch(column_name(name))]
    flags = [name for name in free if {cell.lower() for cell in table.column(name)} <= YES | NO]
    if not named and len(flags) >= 2:
        borne = Counter(
            sum(cell.lower() in YES for cell in cells) for cells in zip(*map(table.column, flags), strict=True)
        )
        options["label"] = flags
        if [*borne] == [1]:
            options["exclusive"] = True
        remarks.append(f"{len(flags)} columns of 0 and 1 are taken for {'one label' if [*borne] == [1] else 'labels'}")
        return [name for name in free if name not in flags]
    if not candidates:
        raise DataError(
            f"{table.path}: no column can be the label (2 to {_MOST_CLASSES} different values, none empty, several "
            f"rows each); it has {', '.join(table.header)}"
        )
    chosen = min(named or candidates, key=lambda name: len(set(table.column(name))) if not named else 0)
    options["label"] = chosen
    others = [name for name in candidates if name != chosen]
    if others:
        remarks.append(f"column {chosen!r} is taken for the label; {', '.join(map(repr, others))} could be one too")
    cells = table.column(chosen)
    separator = next((one for one in _SEPARATORS if any(one in cell for cell in cells)), None)
    words = set(cells)
    if separator is not None:
        options["separator"] = separator
        remarks.append(f"labels with {separator!r} are taken for several in one cell")
        words = {part.strip() for cell in cells for part in cell.split(separator)} - {""}
    first: dict[str, str] = {}
    spelled = {word: first.setdefault(canonical(word), word) for word in sorted(words)}
    if len(first) < len(spelled):
        options["map"] = spelled
        remarks.append("labels that differ in case, spaces or Unicode form alone are mapped to one")
    return [name for name in free if name != chosen]


def _classes(cells: Sequence[str]) -> bool:
    """Whether a column may say what images show: few values, each in several rows."""
    counts = Counter(cells)
    if len(counts) > _MOST_GRADES and all(map(_is_number, counts)):
        return False
    parts = {part.strip() for separator in _SEPARATORS for cell in counts for part in cell.split(separator)}
    repeated = sum(times for times in counts.values() if times > 1)
    return "" not in counts and len(counts) >= 2 and len(parts) <= 3 * _MOST_CLASSES and (
        (len(counts) <= _MOST_CLASSES and 2 * len(counts) <= len(cells)) or 10 * repeated >= 9 * len(cells)
    )  # fmt: skip


def _metadata(table: CellTable, free: Sequence[str]) -> dict[str, str]:
    """Further columns that hold numbers, or words that are not different in every row."""
    found: dict[str, str] = {}
    names: set[str] = set()
    for header in free:
        name, cells = column_name(header), table.column(header)
        known = [cell for cell in cells if category(cell) is not None]
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name in _TAKEN | names or name.endswith("_decade"):
            continue
        if known and all(map(_is_number, known)):
            found[header] = "number"
        elif known and 2 * len(set(known)) <= len(known):
            found[header] = "category"
        else:
            continue
        names.add(name)
    return found


def _is_number(cell: str) -> bool:
    try:
        quantity(cell, "")
    except DataError:
        return False
    return True
