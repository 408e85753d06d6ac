"""Images of one dataset that another one has too: the same pixels, or nearly the same picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.core.errors import RequestError
from harness.core.identity import source_hash
from harness.core.infrastructure import passes
from harness.data.decoded import DecodedDataset
from harness.data.near_duplicates import Fingerprints, find_near, take_fingerprints
from harness.data.once import build_once

_CODE = ("harness.data.copies", "harness.data.near_duplicates")
"""Modules of which another version may find other pairs."""

Pairs = npt.NDArray[np.int64]
"""Shape (pairs, 2): a row of the one dataset and a row of the other."""


@dataclass(frozen=True, eq=False)
class SharedImages:
    """The images that two datasets share."""

    identical: Pairs
    near: Pairs


def find_copies(
    data: DecodedDataset,
    external: DecodedDataset,
    cache_root: Path,
    progress: Callable[[int, int], None] | None = None,
) -> SharedImages:
    """The images of a dataset that an external one has too, by row: ``near_copies``, and those with the same pixels.

    Raises:
        RequestError: as ``near_copies``.
    """
    return SharedImages(_identical(data, external), near_copies(data, external, cache_root, progress))


def near_copies(
    data: DecodedDataset,
    external: DecodedDataset,
    cache_root: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Pairs:
    """The images of a dataset that an external one has nearly, by row.

    They are looked for once and kept in the cache; of several processes one looks.

    Args:
        data: the dataset that models are trained on.
        external: another one; two sizes below 64 px are compared at the smaller.
        cache_root: folder of the decoded datasets.
        progress: called with (done, total) steps while this process looks.

    Raises:
        RequestError: what the cache holds is damaged.
    """
    folder = cache_root / f"copies-{data.fingerprint[:16]}-{external.fingerprint[:16]}-{source_hash(_CODE)[:8]}"
    if not folder.is_dir():
        build_once(folder, lambda target: np.save(target / "near.npy", _near(data, external, progress)))
    try:
        near: Pairs = np.load(folder / "near.npy", allow_pickle=False)
        if near.dtype != np.int64 or near.ndim != 2 or near.shape[1] != 2:
            raise ValueError(f"{near.dtype} {near.shape}")
    except (OSError, ValueError, EOFError) as error:
        if passes(error):
            raise
        raise RequestError(f"{folder}: damaged ({error}); delete the folder and run the same command again") from error
    return near


def _identical(data: DecodedDataset, external: DecodedDataset) -> Pairs:
    own: dict[str, list[int]] = {}
    for row, pixels in enumerate(data.records["pixels"].to_list()):
        own.setdefault(pixels, []).append(row)
    pairs = [
        (first, second)
        for second, pixels in enumerate(external.records["pixels"].to_list())
        for first in own.get(pixels, ())
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _near(data: DecodedDataset, external: DecodedDataset, progress: Callable[[int, int], None] | None) -> Pairs:
    count = len(data.labels)
    total = 2 * (count + len(external.labels))

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total)

    first = take_fingerprints(data.images, report)
    second = take_fingerprints(external.images, lambda done: report(count + done))
    side = min(first.thumbnails.shape[1], second.thumbnails.shape[1])
    both = Fingerprints(
        np.concatenate([_shrunk(first.thumbnails, side), _shrunk(second.thumbnails, side)]),
        np.concatenate([first.hashes, second.hashes]),
        np.concatenate([first.flat, second.flat]),
    )
    contents = [*data.records["pixels"].to_list(), *external.records["pixels"].to_list()]
    _, content = np.unique(contents, return_inverse=True)
    found = find_near(both, content, lambda done: report(total // 2 + done))
    across = (found.first < count) & (found.second >= count)
    pairs = np.stack([found.first[across], found.second[across] - count], axis=1)
    return np.unique(pairs, axis=0)


def _shrunk(thumbnails: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Thumbnails with a side of that many pixels, at most their own."""
    from PIL import Image

    if thumbnails.shape[1] == side:
        return thumbnails
    small = [Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR) for one in thumbnails]
    return np.stack([np.asarray(one) for one in small])
