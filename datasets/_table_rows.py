"""The rows of a user's own table as records, and each mistake in a row as one line."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.api import (
    CellTable,
    DataError,
    MetadataValue,
    OfficialSplit,
    Record,
    category,
    column_name,
    is_dicom,
    load_table,
    quantity,
    suggestion,
    volume_fault,
)

from ._folder_entries import Entry, list_entries
from ._folder_layout import SIDES, natural
from ._own_options import without_excluded
from ._table_options import ImageTableOptions

YES, NO = frozenset(("1", "1.0", "true", "yes")), frozenset(("0", "0.0", "false", "no"))
"""What cells of columns of 0 and 1 say, in small letters."""

_MOST_COMPARED = 2_000


@dataclass(frozen=True, slots=True)
class RowsRead:
    """What a table and its images give."""

    records: list[Record]
    """By path."""
    classes: tuple[str, ...]
    left_out: Mapping[str, int]
    """Files and rows, by reason."""


class FileIndex:
    """Files by what a table may call them: the end of a path, with or without the file's ending.

    Args:
        place: the folder or archive, of whose own path the table may name the end too.
        entries: what it holds.
    """

    def __init__(self, place: Path, entries: Sequence[Entry]) -> None:
        self._above = place.with_suffix("").parts
        self.names: dict[str, list[Entry]] = defaultdict(list)
        self._stems: dict[str, list[Entry]] = defaultdict(list)
        self._folded: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            if entry.source is not None:
                path = _composed(str(entry.path))
                self.names[path.name].append(entry)
                self._stems[path.stem].append(entry)
                self._folded[path.stem.casefold()].append(entry)

    def find(self, cell: str) -> list[Entry]:
        """The files that a cell may mean: several where it is not unique."""
        path = _composed(cell)
        found = self.names.get(path.name) or self._stems.get(path.name) or []
        folders = path.parts[:-1]
        if not folders:
            return found
        above = {entry.path: _composed(str(entry.path)).parts[:-1] for entry in found}
        exact = [entry for entry in found if above[entry.path] == folders]
        return exact or [entry for entry in found if (*self._above, *above[entry.path])[-len(folders) :] == folders]

    def meant(self, cell: str) -> str:
        """A guess at what a cell that means no file should say, as the end of a message; empty where there is none."""
        path = _composed(cell)
        alike = self._folded.get(path.stem.casefold()) or self._folded.get(path.name.casefold())
        if alike:
            guess = suggestion(str(path), [entry.path for entry in alike])
            return guess if "did you mean" in guess else f"; did you mean {str(alike[0].path)!r}?"
        near = [name for name in self.names if name[:2] == path.name[:2]][:_MOST_COMPARED]
        guess = suggestion(path.name, near)
        return guess if "did you mean" in guess else ""


def _composed(name: str) -> PurePosixPath:
    """A path in the form that a keyboard writes; macOS stores the same name in another."""
    return PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")))


def read_rows(root: Path, options: ImageTableOptions) -> RowsRead:
    """Read a table and list its images.

    Raises:
        DataError: as ``ImageTable.records`` says; the message names the row.
    """
    table, place = load_table(root / options.table), root / options.images
    for name in options.metadata:
        table.column(name)
    entries = list_entries(root, place).entries
    kept, excluded = without_excluded(place, entries, options.exclude)
    found = _files(table, place, entries, kept, options)
    labels = _labels(table, options)
    rows = [row for row in sorted(found, key=lambda row: str(found[row].path)) if labels[row] is not None]
    classes = _classes(options, [labels[row] or [] for row in rows])
    groups, sides = _groups(table, options), _sides(table, options)
    known = _metadata(table, options)
    records = [
        Record(
            case_id=str(found[row].path),
            label=_label(table, options, classes, row, labels[row] or []),
            image=options.opened(found[row]),
            group=groups[row],
            official=sides[row],
            metadata=known[row],
        )
        for row in rows
    ]
    named = {entry.path for entry in found.values()}
    images = [entry for entry in kept if options.reads(entry)]
    left_out = {
        "images that no row names": sum(entry.path not in named for entry in images),
        "files that `exclude` names": excluded,
        "images whose label `map` leaves out": len(found) - len(rows),
    }
    return RowsRead(records, classes, {reason: count for reason, count in left_out.items() if count})


def _files(
    table: CellTable,
    place: Path,
    entries: Sequence[Entry],
    kept: Sequence[Entry],
    options: ImageTableOptions,
) -> dict[int, Entry]:
    """The image of each row, without those that ``exclude`` names."""
    index, left = FileIndex(place, entries), {entry.path for entry in kept}
    rows: dict[int, Entry] = {}
    first: dict[PurePosixPath, int] = {}
    missing = []
    for row, cell in enumerate(table.column(options.file)):
        if not cell:
            raise DataError(f"{table.place(row)}: column {options.file!r} is empty; name the image, or remove the row")
        found = index.find(cell)
        if not found:
            missing.append((row, cell))
            continue
        if len(found) > 1:
            raise DataError(
                f"{table.place(row)}: {cell!r} is the name of {len(found)} files in {place}; write the path, such as "
                f"{str(found[0].path)!r}"
            )
        (entry,) = found
        if entry.path not in left:
            continue
        if not options.reads(entry):
            raise DataError(f"{table.place(row)}: {entry.path} {_no_image(entry.path)}")
        before = first.setdefault(entry.path, row)
        if before != row:
            several = "" if options.several else "; several labels of an image go into one cell, with `separator`"
            raise DataError(
                f"{table.place(row)}: {cell!r} is the image of row {table.numbers[before]} too; remove one{several}"
            )
        rows[row] = entry
    if missing:
        row, cell = missing[0]
        more = f" ({len(missing):,} of {len(table.rows):,} rows name files that are not there)" * (len(missing) > 1)
        raise DataError(f"{table.place(row)}: no file {cell!r} in {place}{more}{index.meant(cell)}")
    return rows


def _no_image(path: PurePosixPath) -> str:
    fault = volume_fault(path)
    if fault is not None:
        return fault
    if path.suffix and is_dicom(path):
        return "is a DICOM file by its name; read such files with the option `dicom: {}`"
    return "is no image by its ending; correct the row, or remove it"


def _labels(table: CellTable, options: ImageTableOptions) -> list[list[str] | None]:
    """The classes of each row by their names; None where ``map`` leaves its only label out."""
    if len(options.labels) > 1:
        given = _borne(table, options)
    else:
        given = []
        for row, cell in enumerate(table.column(options.labels[0])):
            parts = [cell] if options.separator is None else [part.strip() for part in cell.split(options.separator)]
            words = [part for part in parts if part]
            if not words:
                remedy = (
                    "write a word for none and map it to null: `map: {none: null}`" if options.several else "fill it"
                )
                raise DataError(
                    f"{table.place(row)}: column {options.labels[0]!r} is empty; {remedy}, or remove the row"
                )
            given.append(words)
    found: list[list[str] | None] = []
    for row, words in enumerate(given):
        names = [_mapped(table, options, row, unicodedata.normalize("NFC", word)) for word in words]
        kept = [name for name in names if name is not None]
        found.append(kept if options.several or kept else None)
    return found


def _borne(table: CellTable, options: ImageTableOptions) -> list[list[str]]:
    """The columns of each row that are 1."""
    cells = {name: table.column(name) for name in options.labels}
    given = []
    for row in range(len(table.rows)):
        words = []
        for name in options.labels:
            word = cells[name][row].lower()
            if word not in YES | NO:
                what = f"is {cells[name][row]!r}" if word else "is empty"
                raise DataError(f"{table.place(row)}: column {name!r} {what}; a column of `label` holds 0 or 1")
            words += [name] if word in YES else []
        if not options.several and len(words) != 1:
            said = f"{', '.join(words)} are 1" if words else "no column is 1"
            raise DataError(f"{table.place(row)}: {said}, but exactly one must be; correct it, or drop `exclusive`")
        given.append(words)
    return given


def _mapped(table: CellTable, options: ImageTableOptions, row: int, word: str) -> str | None:
    if options.map is None:
        return word
    if word not in options.map:
        raise DataError(
            f"{table.place(row)}: the label {word!r} is not in `map`{suggestion(word, options.map)}; add it, or "
            "correct it"
        )
    return options.map[word]


def _classes(options: ImageTableOptions, labels: Sequence[list[str]]) -> tuple[str, ...]:
    if options.classes is not None:
        return options.classes
    if len(options.labels) > 1:
        names = [name if options.map is None else options.map.get(name) for name in options.labels]
        return tuple(dict.fromkeys(name for name in names if name is not None))
    return tuple(sorted({name for names in labels for name in names}, key=natural))


def _label(
    table: CellTable, options: ImageTableOptions, classes: tuple[str, ...], row: int, names: Sequence[str]
) -> int | tuple[int, ...]:
    for name in names:
        if name not in classes:
            raise DataError(
                f"{table.place(row)}: the class {name!r} is not in `classes`{suggestion(name, classes)}; add it, or "
                "give it another by `map`"
            )
    if options.several:
        return tuple(int(name in names) for name in classes)
    return classes.index(names[0])


def _groups(table: CellTable, options: ImageTableOptions) -> list[str | None]:
    """The patient of each row, else its group."""
    given = [name for name in (options.patient, options.group) if name is not None]
    if not given:
        return [None] * len(table.rows)
    cells = [
        _full(table, name, "every image needs its own patient or group, also one that stands alone") for name in given
    ]
    if len(given) == 2:
        first: dict[str, int] = {}
        for row, (patient, group) in enumerate(zip(*cells, strict=True)):
            before = first.setdefault(group, row)
            if cells[0][before] != patient:
                raise DataError(
                    f"{table.place(row)}: {options.group} {group!r} has {options.patient} {patient!r} here and "
                    f"{cells[0][before]!r} in row {table.numbers[before]}; correct one, or drop one of the two columns"
                )
    return [*cells[0]]


def _sides(table: CellTable, options: ImageTableOptions) -> list[OfficialSplit | None]:
    if options.split is None:
        return [None] * len(table.rows)
    sides: list[OfficialSplit | None] = []
    for row, cell in enumerate(_full(table, options.split, "each image has a side: train, val or test")):
        if cell.casefold() not in SIDES:
            raise DataError(f"{table.place(row)}: {cell!r} is no side of a split{suggestion(cell.casefold(), SIDES)}")
        sides.append(SIDES[cell.casefold()])
    return sides


def _full(table: CellTable, name: str, why: str) -> list[str]:
    cells = table.column(name)
    for row, cell in enumerate(cells):
        if not cell:
            raise DataError(f"{table.place(row)}: column {name!r} is empty; {why}")
    return cells


def _metadata(table: CellTable, options: ImageTableOptions) -> list[dict[str, MetadataValue]]:
    known: list[dict[str, MetadataValue]] = [{} for _ in table.rows]
    for header, kind in options.metadata.items():
        for row, cell in enumerate(table.column(header)):
            value = category(cell) if kind == "category" else quantity(cell, f"{table.place(row)}: {header}")
            known[row][column_name(header)] = value
    return known
