"""Images in a folder, with a CSV table that says what they show and whose they are."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from harness.api import Augmentation, DataError, Dataset, FileImage, Record

COLUMNS = ("file", "label", "patient")


class Cells(Dataset):
    """Photographs of cells, round or lobed.

    Source: drawn by ``examples/csv_dataset/draw_cells.py``. Licence: CC0 1.0.

    The folder ``cells`` in the data root holds ``labels.csv`` and the images that it names.
    """

    name = "cells"
    title = "Drawn cells"
    modality = "microscopy (drawn)"
    licence = "CC0 1.0"
    groups = "known"
    citation = "none; run examples/csv_dataset/draw_cells.py to get the folder"
    augmentation = Augmentation(flip_vertical=True, rotate=180.0)

    @property
    def classes(self) -> tuple[str, ...]:
        """The two kinds, in the order of the labels."""
        return ("round", "lobed")

    @property
    def files(self) -> tuple[str, ...]:
        """The one folder."""
        return ("cells",)

    def records(self, root: Path) -> Sequence[Record]:
        """One record a line of the table, in the table's order; the images of a patient share their group.

        Raises:
            DataError: a column is missing, or a label is no class.
        """
        table = root / "cells" / "labels.csv"
        with table.open(newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            if missing := sorted(set(COLUMNS) - set(lines.fieldnames or ())):
                raise DataError(f"{table}: the column {missing[0]!r} is missing; it needs {', '.join(COLUMNS)}")
            return [self._record(table, lines.line_num, line) for line in lines]

    def _record(self, table: Path, number: int, line: dict[str, str]) -> Record:
        if line["label"] not in self.classes:
            raise DataError(f"{table}:{number}: the label {line['label']!r} is none of {', '.join(self.classes)}")
        image = FileImage(table.parent / line["file"])
        return Record(line["file"], self.classes.index(line["label"]), image, group=line["patient"])
