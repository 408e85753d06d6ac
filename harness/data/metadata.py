"""What is known of images beside pixels and labels: checked, and as a table for readers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from harness.core.errors import DataError
from harness.dataset import MetadataColumn, MetadataValue, Record
from harness.run.data_records import ColumnFacts

if TYPE_CHECKING:
    from harness.data.decoded import DecodedDataset

DECADE = "_decade"
"""What the name of a number is followed by in the column of its bands of ten, such as ``age_decade``: ``60-69``."""

MOST_VALUES = 24
"""So many values of a category at most are counted on a card."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TAKEN = frozenset(("case_id", "group", "label", "set", "severity"))
"""Columns that tables of predictions have themselves."""


def metadata_of(dataset: str, columns: Sequence[MetadataColumn], records: Sequence[Record]) -> pl.DataFrame:
    """The metadata of a dataset: a column of strings or float64 for each that the raw files have, a row a record.

    Raises:
        DataError: a column's name cannot be used or comes twice, or a record has a value that its column cannot hold.
    """
    names = [column.name for column in columns]
    for name in names:
        if not _NAME.fullmatch(name) or name in _TAKEN or name.endswith(DECADE):
            raise DataError(
                f"dataset {dataset}: a column of metadata cannot be called {name!r}; use small letters, digits and _, "
                f"a letter first, and none of {', '.join(sorted(_TAKEN))} and *{DECADE}"
            )
        if names.count(name) > 1:
            raise DataError(f"dataset {dataset}: two columns of metadata are called {name!r}; rename one")
    present = [column for column in columns if not column.absent]
    for record in records:
        for name, value in record.metadata.items():
            fault = _fault(name, value, present)
            if fault is not None:
                raise DataError(f"dataset {dataset}: {record.case_id}: {fault}; correct the plugin")
    return pl.DataFrame(
        {column.name: [record.metadata.get(column.name) for record in records] for column in present},
        schema={column.name: pl.String if column.kind == "category" else pl.Float64 for column in present},
    )


def _fault(name: str, value: MetadataValue, columns: Sequence[MetadataColumn]) -> str | None:
    """Why a record cannot have this value."""
    column = next((one for one in columns if one.name == name), None)
    if column is None:
        return f"has a value of {name!r}, which is no column of the dataset here"
    if value is None:
        return None
    if column.kind == "category":
        return None if isinstance(value, str) and value else f"{name} is {value!r}, no category"
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return None if number else f"{name} is {value!r}, no number"


def case_table(data: DecodedDataset) -> pl.DataFrame:
    """What is known of each case: ``case_id``, ``group`` as in predictions, the metadata, and bands of ten of numbers.

    ``NAME_decade`` of a number is text such as ``60-69``: from a multiple of ten up to the next one.
    """
    own = pl.DataFrame(
        {"case_id": data.case_ids, "group": data.groups}, schema={"case_id": pl.String, "group": pl.String}
    )
    bands = {
        f"{name}{DECADE}": data.metadata[name].map_elements(_decade, return_dtype=pl.String)
        for name in data.metadata.columns
        if data.metadata[name].dtype == pl.Float64
    }
    return own.hstack(data.metadata.get_columns()).with_columns(**bands)


def _decade(value: float) -> str:
    low = 10 * math.floor(value / 10)
    return f"{low}-{low + 9}"


def column_facts(data: DecodedDataset) -> list[ColumnFacts]:
    """What a card says of each column: missing values, values with their counts, or the range of numbers."""
    return [_facts(data, column) for column in data.columns]


def _facts(data: DecodedDataset, column: MetadataColumn) -> ColumnFacts:
    if column.absent:
        return {"name": column.name, "kind": column.kind, "absent": column.absent, "missing": len(data.labels)}
    values = data.metadata[column.name]
    facts: ColumnFacts = {"name": column.name, "kind": column.kind, "missing": values.null_count()}
    known = values.drop_nulls()
    if column.kind == "category":
        counts = sorted(Counter(known.to_list()).items(), key=lambda entry: (-entry[1], entry[0]))
        facts["values"] = dict(counts[:MOST_VALUES])
        facts["further"] = len(counts[MOST_VALUES:])
    elif len(known):
        lowest, highest = known.min(), known.max()
        assert isinstance(lowest, float) and isinstance(highest, float)
        facts["range"] = [lowest, highest]
    return facts
