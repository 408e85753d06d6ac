"""A decoded dataset on disk and in memory; opening one takes milliseconds, however many images it has.

images.npy      uint8, (n, size, size, 3), memory-mapped
labels.npy      int64, (n,), or (n, classes) of 0 and 1 where an image may bear several classes
records.arrow   case_id, cluster, group, official, pixels: strings, one row an image
metadata.arrow  a column for each that is known of the images beside that: strings or float64
meta.json       fingerprint, classes, notes, what was left out, columns, counts, and what the folder's key was made of
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.core.errors import RequestError
from harness.core.files import read_json, write_json
from harness.core.frame_files import read_ipc
from harness.core.infrastructure import passes
from harness.dataset import MetadataColumn, Record

_TORN = (ValueError, AttributeError, KeyError, TypeError, EOFError)
"""What files that do not hold what their names promise lead to."""

COLUMNS = ("case_id", "cluster", "group", "official", "pixels")


@dataclass(frozen=True, eq=False)
class DecodedDataset:
    """A dataset as a training reads it; row i of every part is the same image."""

    images: npt.NDArray[np.uint8]
    """Memory-mapped and read-only, shape (n, size, size, 3), RGB."""
    labels: npt.NDArray[np.int64]
    """Shape (n,), indices into ``classes``; with several labels an image, shape (n, classes) of 0 and 1."""
    records: pl.DataFrame
    """``COLUMNS``, all strings; ``group`` and ``official`` may be null."""
    classes: tuple[str, ...]
    fingerprint: str
    """SHA-256 (hex) over pixels, labels, records, classes and size; metadata are not in it, because no training sees
    them."""
    notes: tuple[str, ...] = ()
    """What decoding did beyond the resize, such as turning an image by its EXIF tag."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Files of the raw archive that are no images of the dataset, by reason."""
    near_joined: bool = False
    """Whether near-duplicates share a cluster too."""
    metadata: pl.DataFrame = field(default_factory=pl.DataFrame)
    """A column of strings or float64 for each of ``columns`` that the raw files have; null where a value is missing."""
    columns: tuple[MetadataColumn, ...] = ()
    """Every column of metadata that the dataset may have, those too that the raw files lack."""

    @property
    def multi_label(self) -> bool:
        """Whether an image may bear several classes."""
        return self.labels.ndim == 2

    @cached_property
    def case_ids(self) -> tuple[str, ...]:
        """Case id of each image."""
        return tuple(self.records["case_id"].to_list())

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Cluster of each image: what shares a patient or lesion or is pixel-identical, also by way of others."""
        return tuple(self.records["cluster"].to_list())

    @cached_property
    def official(self) -> tuple[str | None, ...]:
        """The side on which the publisher put each image: train, val, test or None."""
        return tuple(self.records["official"].to_list())

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Row of each case id."""
        return {case_id: row for row, case_id in enumerate(self.case_ids)}


def describe(
    records: Sequence[Record], clusters: Sequence[str], pixels: Sequence[bytes]
) -> tuple[npt.NDArray[np.int64], pl.DataFrame]:
    """Labels and table of a dataset's records.

    Args:
        records: the dataset.
        clusters: cluster of each.
        pixels: SHA-256 of each image before the resize.
    """
    table = pl.DataFrame(
        {
            "case_id": [record.case_id for record in records],
            "cluster": list(clusters),
            "group": [record.group for record in records],
            "official": [record.official for record in records],
            "pixels": [digest.hex()[:32] for digest in pixels],
        },
        schema=dict.fromkeys(COLUMNS, pl.String),
    )
    return np.array([record.label for record in records], dtype=np.int64), table


class CacheKey(TypedDict):
    """What decides the content of a decoded dataset."""

    code: str
    dataset: str
    options: object
    size: int
    format: int
    reading: tuple[str, str]
    files: str


class MetaFacts(TypedDict):
    """What ``meta.json`` holds beside what the arrays show."""

    size: int
    notes: Sequence[str]
    left_out: dict[str, int]
    columns: Sequence[Mapping[str, object]]
    key: CacheKey


def write_description(
    folder: Path,
    labels: npt.NDArray[np.int64],
    table: pl.DataFrame,
    metadata: pl.DataFrame,
    classes: Sequence[str],
    stored: Sequence[bytes],
    meta: MetaFacts,
) -> None:
    """Write everything but the images into the folder that is being built.

    Args:
        stored: SHA-256 of each image as it is stored.
        metadata: as ``harness.data.metadata.metadata_of`` makes it.
        meta: what ``MetaFacts`` lists.
    """
    fingerprint = hashlib.sha256(json.dumps([meta["size"], list(classes)]).encode())
    fingerprint.update(json.dumps(table.to_dict(as_series=False), sort_keys=True).encode())
    fingerprint.update(labels.tobytes())
    for digest in stored:
        fingerprint.update(digest)
    np.save(folder / "labels.npy", labels, allow_pickle=False)
    table.write_ipc(folder / "records.arrow")
    metadata.write_ipc(folder / "metadata.arrow")
    write_json(
        folder / "meta.json",
        {"fingerprint": fingerprint.hexdigest(), "images": len(labels), "classes": list(classes), **meta},
    )


def open_decoded(folder: Path, size: int) -> DecodedDataset:
    """Open what was written.

    Raises:
        RequestError: a file is missing, torn, or disagrees with another.
        OSError: the file system does not give one.
    """
    try:
        meta = read_json(folder / "meta.json")
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        table, metadata = read_ipc(folder / "records.arrow"), read_ipc(folder / "metadata.arrow")
        count, classes = int(meta["images"]), tuple(map(str, meta["classes"]))
        agree = images.shape == (count, size, size, 3) and len(labels) == len(table) == count
        if not agree or images.dtype != np.uint8 or labels.dtype != np.int64 or tuple(table.columns) != COLUMNS:
            raise ValueError(f"{count} images announced, {images.dtype} {images.shape} and {len(table)} rows found")
        labels.setflags(write=False)
        left_out = {str(reason): int(count) for reason, count in meta["left_out"].items()}
        columns = tuple(MetadataColumn(**entry) for entry in meta["columns"])
        if metadata.columns != [column.name for column in columns if not column.absent]:
            raise ValueError(f"columns {', '.join(metadata.columns)} found")
        if metadata.columns and len(metadata) != count:
            raise ValueError(f"{len(metadata)} rows of metadata found")
        return DecodedDataset(
            images,
            labels,
            table,
            classes,
            str(meta["fingerprint"]),
            tuple(meta["notes"]),
            left_out,
            metadata=metadata,
            columns=columns,
        )
    except (OSError, RequestError, pl.exceptions.PolarsError, *_TORN) as error:
        if passes(error):
            raise
        raise RequestError(
            f"{folder}: this decoded dataset is damaged ({error}); delete the folder and run the same command again"
        ) from error
