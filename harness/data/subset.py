"""Parts of the training side: fewer images for low-data studies, and a meta side for methods that learn from one."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from harness.core.errors import RequestError
from harness.data.decoded import DecodedDataset
from harness.data.split import Indices, Split, divide_near, indices
from harness.data.strata import strata


def keep_training(
    split: Split, data: DecodedDataset, fraction: float | None = None, per_class: int | None = None
) -> Split:
    """The split with fewer training cases; validation and test stay whole.

    The cases of a class are kept in an order that depends on the split's seed and their own ids alone, so that
    of two subsets of one split the smaller is always part of the larger, whichever way they were asked for.

    Args:
        fraction: of each class, rounded up, in (0, 1]; None keeps all.
        per_class: at most so many images of each class; a class that has fewer keeps them all.
    """
    if fraction is None and per_class is None:
        return split
    stratum = strata(data.labels)
    chosen: list[str] = []
    by_class: dict[int, list[str]] = {}
    for case_id in split.train:
        by_class.setdefault(int(stratum[data.rows[case_id]]), []).append(case_id)
    for cases in by_class.values():
        limits = [len(cases)]
        # Rounded first: 0.07 * 100 is a little more than 7.
        limits += [] if fraction is None else [int(np.ceil(round(fraction * len(cases), 6)))]
        limits += [] if per_class is None else [per_class]
        chosen += sorted(cases, key=lambda case_id: _draw("subset", split.seed, case_id))[: min(limits)]
    return replace(split, train=tuple(sorted(chosen)))


def meta_split(split: Split, data: DecodedDataset, fraction: float) -> tuple[Indices, Indices]:
    """Divide the training side into what remains and a meta side, stratified, with each cluster on one of them.

    Args:
        fraction: of the training images that the meta side takes, in (0, 1); rounded down, at least one, or the
            nearest number that the clusters allow.

    Returns:
        Rows of the remaining training cases and of the meta side, int64, ascending.

    Raises:
        RequestError: too few images, or clusters that allow no such division.
    """
    train = indices(split, data)[0]
    taken = max(1, int(round(fraction * len(train), 6)))
    if not 0 < fraction < 1 or taken >= len(train):
        raise RequestError(f"meta split: {fraction:g} of {len(train)} training images leaves one side empty")
    order = np.array(sorted(train.tolist(), key=data.case_ids.__getitem__), dtype=np.int64)
    rng = np.random.default_rng(int.from_bytes(_draw("meta", split.seed, "")[:16]))
    sides = divide_near(data, order, (len(order) - taken, taken, 0), "grouped", rng)
    return np.sort(order[sides == 0]), np.sort(order[sides == 1])


def _draw(purpose: str, seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{purpose}/{seed}/{name}".encode()).digest()
