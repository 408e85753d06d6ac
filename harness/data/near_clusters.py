"""Near-duplicates on one side of a split: clusters that join mirrored, re-encoded and brightened copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from harness.core.errors import RequestError
from harness.core.identity import source_hash
from harness.core.infrastructure import passes
from harness.data.decoded import DecodedDataset
from harness.data.near_duplicates import find_near, take_fingerprints
from harness.data.once import build_once

_CODE = ("harness.data.near_clusters", "harness.data.near_duplicates")
"""Modules of which another version may find other pairs."""


def are_joined(data: DecodedDataset, cache_root: Path) -> bool:
    """Whether ``join_near_duplicates`` would only have to open what is there."""
    return _folder(data, cache_root).is_dir()


def _folder(data: DecodedDataset, cache_root: Path) -> Path:
    return cache_root / f"near-{data.fingerprint[:16]}-{source_hash(_CODE)[:8]}"


def join_near_duplicates(
    data: DecodedDataset, cache_root: Path, progress: Callable[[int, int], None] | None = None
) -> DecodedDataset:
    """The same dataset with clusters that near-duplicates connect too, also by way of others.

    Looked for once and kept in the cache, like decoded images; of several processes one looks.

    Args:
        data: the dataset; from 64 px on near-duplicates are told apart best.
        cache_root: folder of the decoded datasets.
        progress: called with (done, total) steps while this process looks.

    Raises:
        RequestError: what the cache holds is damaged.
        OSError: the file system does not give it.
    """
    folder = _folder(data, cache_root)
    if not folder.is_dir():
        build_once(folder, lambda target: np.save(target / "clusters.npy", _clusters(data, progress)))
    try:
        joined = np.load(folder / "clusters.npy", allow_pickle=False)
        if joined.shape != (len(data.labels),) or joined.dtype != np.int64:
            raise ValueError(f"{joined.dtype} {joined.shape}")
    except (OSError, ValueError, EOFError) as error:
        if passes(error):
            raise
        raise RequestError(f"{folder}: damaged ({error}); delete the folder and run the same command again") from error
    # A cluster bears the smallest of the names that it joins, whatever the order of the images.
    names = pl.DataFrame({"cluster": data.records["cluster"], "joined": joined})
    smallest = names.select(pl.col("cluster").min().over("joined"))["cluster"]
    return replace(data, records=data.records.with_columns(smallest), near_joined=True)


def _clusters(data: DecodedDataset, progress: Callable[[int, int], None] | None) -> npt.NDArray[np.int64]:
    """Number of the connected component of each image, shape (n,)."""
    # Seldom needed, and slow to import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(data.labels)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, 2 * n)

    _, content = np.unique(data.records["pixels"].to_numpy(), return_inverse=True)
    _, cluster = np.unique(data.records["cluster"].to_numpy(), return_inverse=True)
    near = find_near(take_fingerprints(data.images, report), content, lambda done: report(n + done))
    edges = (np.ones(len(near.first)), (cluster[near.first], cluster[near.second]))
    size = int(cluster.max()) + 1
    _, component = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    return np.asarray(component, dtype=np.int64)[cluster]
