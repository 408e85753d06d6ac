"""What each training of a table drew anew: its split of the dataset, and the search that chose its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from analysis.imported.file import LONGEST_NAME, ROW, ForeignTable, shown
from harness.core.errors import RequestError

LABELS = ("split", "search")
SIZES = ("train_cases", "test_cases")
_WRITTEN = " as written"

Training = tuple[str, str, int]
"""(method, dataset, seed)."""


@dataclass(frozen=True, slots=True)
class TrainingDraw:
    """One training."""

    place: str
    """File and line where it is first mentioned; the file alone where lines are not known."""
    labels: Mapping[str, str]
    """``split`` and ``search`` → label, of those that the table has."""


@dataclass(frozen=True, slots=True)
class TableDraws:
    """All trainings of a table in the order of their first rows, and how large their splits are."""

    trainings: dict[Training, TrainingDraw] = field(default_factory=dict)
    sizes: dict[tuple[str, str, str], tuple[int, str]] = field(default_factory=dict)
    """(dataset, split, ``train_cases`` or ``test_cases``) → number of images, above 0, and where it is said."""


def draw_cells(table: ForeignTable) -> list[pl.Expr]:
    """The optional columns that a table has: labels as text, sizes as numbers and as written.

    Raises:
        RequestError: one of them has another spelling, is there twice, or holds neither text nor numbers.
    """
    sizes = table.optional(*SIZES)
    return [
        *(table.text(name) for name in table.optional(*LABELS)),
        *(table.whole(name) for name in sizes),
        *(table.text(name).alias(f"{name}{_WRITTEN}") for name in sizes),
    ]


def read_draws(table: ForeignTable, rows: pl.DataFrame) -> TableDraws:
    """What the rows of a table say of each training.

    Args:
        table: where they are from.
        rows: columns ``method``, ``dataset``, ``seed``, those of ``draw_cells``, and ``ROW`` where rows have places.

    Raises:
        RequestError: a label is missing or too long, a size is no number of images, a training has two labels or a
            split two sizes.
    """
    found = TableDraws()
    said = [name for name in rows.columns if name.removesuffix(_WRITTEN) in (*LABELS, *SIZES)]
    distinct = rows.unique(["method", "dataset", "seed", *said], keep="first", maintain_order=True)
    for row in distinct.iter_rows(named=True):
        training: Training = (row["method"], row["dataset"], row["seed"])
        place = table.place(row[ROW]) if ROW in row else str(table.path)
        cell = place if ROW in row else f"{place}, {named(training)}"
        draw = TrainingDraw(place, {name: _label(row, name, cell) for name in LABELS if name in row})
        earlier = found.trainings.setdefault(training, draw)
        for name, label in draw.labels.items():
            if label != earlier.labels[name]:
                raise RequestError(
                    f"{place}: {named(training)}, has the {name} {shown(label)!r} here and "
                    f"{shown(earlier.labels[name])!r} before; number the seeds so that each has one {name}, such as "
                    "0 to 4 on the first and 5 to 9 on the second"
                )
        for name in SIZES if "split" in row else ():
            _add_size(found, (row["dataset"], row["split"], name), row, cell)
    return found


def named(training: Training) -> str:
    """A training in words."""
    method, dataset, seed = training
    return f"{method} on {dataset}, seed {seed}"


def _label(row: Mapping[str, Any], name: str, place: str) -> str:
    label = row[name]
    if label is None:
        one = " (the same in all rows if there was but one)" if name == "search" else ""
        raise RequestError(f"{place}, column {name!r}: no {name}; fill in its label{one}, or remove the column")
    if len(label) > LONGEST_NAME:
        raise RequestError(f"{place}, column {name!r}: more than {LONGEST_NAME} letters; give it a shorter name")
    return str(label)


def _add_size(found: TableDraws, key: tuple[str, str, str], row: Mapping[str, Any], place: str) -> None:
    dataset, split, name = key
    size, written = row.get(name), row.get(f"{name}{_WRITTEN}")
    if written is None:
        return
    if size is None or size < 1:
        raise RequestError(
            f"{place}, column {name!r}: {shown(repr(written))} is not a whole number above 0; write how many images "
            "there are, or leave it empty"
        )
    other, there = found.sizes.setdefault(key, (size, place))
    if other != size:
        raise RequestError(
            f"{place}, column {name!r}: {size} images on split {split!r} of {dataset}, but {other} in {there}; correct "
            "one of them"
        )
