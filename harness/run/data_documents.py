"""What a run directory holds about its datasets: splits, cases, cards, and images that are in two of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.files import inside, read_with_status, update, update_json
from harness.run import data_records

if TYPE_CHECKING:
    import polars as pl


class DataDocuments:
    """The documents about datasets in one run directory.

    Attributes:
        path: of the run directory, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def write_split(self, dataset: str, split: data_records.SplitRecord, name: int | None = None) -> None:
        """Record the case ids of each side of a dataset's split, or of one of several (``harness.core.replicates``)."""
        self._write(f"splits/{dataset}.json" if name is None else f"splits/{dataset}+{name}.json", split)

    def split(self, dataset: str, name: int | None = None) -> data_records.SplitRecord:
        """The case ids of each side, or those of one of several splits."""
        file = f"{dataset}.json" if name is None else f"{dataset}+{name}.json"
        return data_records.SPLIT.read(inside(self.path / "splits", file))

    def write_cases(self, dataset: str, cases: pl.DataFrame) -> None:
        """Record what is known of each case of a dataset, as ``cases`` gives it."""
        buffer = io.BytesIO()
        cases.write_parquet(buffer)
        path = self._cases_path(dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        update(path, buffer.getvalue())

    def cases(self, dataset: str) -> pl.DataFrame | None:
        """What is known of each case of a dataset, train, validation and test; None where that is nothing.

        ``case_id`` and ``group`` as in predictions, then a column for each field of metadata: strings or float64, null
        where a value is missing. ``NAME_decade`` beside a number has its band of ten, such as ``60-69``.
        """
        from harness.core.frame_files import read_parquet

        path = self._cases_path(dataset)
        return read_parquet(path) if path.exists() else None

    def _cases_path(self, dataset: str) -> Path:
        return inside(self.path / "cases", f"{dataset}.parquet")

    def write_card(self, dataset: str, card: data_records.Card, picture: bytes | None = None) -> None:
        """Record facts about a dataset, and a picture of it (PNG), for the report."""
        self._write(f"cards/{dataset}.json", card)
        if picture is not None:
            update(self.path / "cards" / f"{dataset}.png", picture)

    def card_picture(self, dataset: str) -> bytes | None:
        """The picture of a dataset (PNG); None where there is none."""
        path = self.path / "cards" / f"{dataset}.png"
        return read_with_status(path)[1] if path.exists() else None

    def cards(self) -> dict[str, data_records.Card]:
        """Facts about each dataset, by label."""
        return {path.stem: data_records.CARD.read(path) for path in sorted((self.path / "cards").glob("*.json"))}

    def write_overlaps(self, overlaps: data_records.OverlapsRecord) -> None:
        """Record images that datasets share, or that a backbone sees; no file where there are none and never were."""
        if overlaps["datasets"] or overlaps["backbones"] or self.overlaps_path.exists():
            update_json(self.overlaps_path, dict(overlaps))

    @property
    def overlaps_path(self) -> Path:
        """Path of what is known of images that are in two datasets."""
        return self.path / "overlaps.json"

    def overlaps(self) -> data_records.OverlapsRecord | None:
        """Images that datasets share, or that a backbone sees before they are tested; None where none were found."""
        path = self.overlaps_path
        return data_records.OVERLAPS.read(path) if path.exists() else None

    def _write(self, relative: str, value: Mapping[str, object]) -> None:
        path = self.path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        update_json(path, dict(value))
