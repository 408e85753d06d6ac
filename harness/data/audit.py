"""The audit of a dataset under a split: leaks, identical and nearly identical images, conflicting labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.data.decoded import DecodedDataset
from harness.data.leaks import Leaks, find_leaks
from harness.data.near_duplicates import (
    MOST_NEIGHBOURS,
    THUMBNAIL,
    Fingerprints,
    NearPairs,
    Rows,
    are_near,
    find_near,
    take_fingerprints,
)
from harness.data.split import Split, indices

RANDOM_PAIRS = 1_000

MOST_PAIRS = 50_000
"""So many near-duplicates at most are listed."""

_SIDES = ("train", "val", "test", "unused")
_TEST = 2


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two images that are the same, or nearly."""

    first: str
    """Case id."""
    second: str
    """Case id."""
    sides: tuple[str, str]
    """train, val or test; ``unused`` for an image that the split leaves out."""
    labels: tuple[str, str]
    """Class names; of a multi-label dataset ``a+b``, or ``none`` where an image bears no class."""
    kind: Literal["identical", "near"]
    similarity: float
    """1.0 for identical images, else the correlation of the thumbnails, below or equal to 1."""

    @property
    def straddles(self) -> bool:
        """Whether the two stand on different sides of the split."""
        return self.sides[0] != self.sides[1] and "unused" not in self.sides

    @property
    def conflicting(self) -> bool:
        """Whether the two bear different labels."""
        return self.labels[0] != self.labels[1]


@dataclass(frozen=True, slots=True)
class Audit:
    """What the audit of a dataset under a split has found."""

    images: int
    """Images of the dataset."""
    leaks: Leaks
    identical: tuple[ImagePair, ...]
    """Worst first; a pair for each further member of a group of identical images, beside its first, which is a
    training image where there is one."""
    near: tuple[ImagePair, ...]
    """Worst first: a pair that straddles into test, then one of conflicting labels, then the more similar."""
    random_pairs: int
    """Random pairs of different clusters that were tried to see how often the search for near-duplicates errs."""
    false_alarms: int
    """How many of these it takes for near-duplicates."""
    notes: tuple[str, ...]
    """Counts over all near-duplicates, then what limits the finding; a line each."""

    def to_json(self) -> dict[str, object]:
        """The same names, in lists and dictionaries."""
        return asdict(self)


def audit(data: DecodedDataset, split: Split, progress: Callable[[int, int], None] | None = None) -> Audit:
    """Audit a dataset under a split; the same data and split give the same result.

    Takes a millisecond an image up to some 10,000 images. The comparison of all pairs comes on top of it, and grows
    with their number: some six minutes of two cores for a million images.

    Args:
        data: the dataset; from 64 px on near-duplicates are told apart best.
        split: the sides to look at.
        progress: called with (done, total) steps; an image takes several.

    Raises:
        RequestError: the split is not one of this dataset.
    """
    leaks = find_leaks(data, split)
    n = len(data.case_ids)
    total = 2 * n

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total)

    table = _Table(data, split)
    prints = take_fingerprints(data.images, report)
    near = find_near(prints, table.content, lambda done: report(n + done))
    first, second = _random_pairs(table.cluster)
    worst = _worst_first(table, near)
    return Audit(
        images=n,
        leaks=leaks,
        identical=_identical(table),
        near=tuple(
            table.pair(near.first[at], near.second[at], "near", near.similarity[at]) for at in worst[:MOST_PAIRS]
        ),
        random_pairs=len(first),
        false_alarms=int(are_near(prints, first, second).sum()),
        notes=tuple(_notes(data, table, prints, near, worst)),
    )


class _Table:
    """Side, label, content and cluster of each row, as texts and as numbers that are equal where these are."""

    def __init__(self, data: DecodedDataset, split: Split) -> None:
        self.case_ids = data.case_ids
        self.labels = _label_texts(data)
        self.side = np.full(len(data.case_ids), len(_SIDES) - 1, dtype=np.int64)
        for number, rows in enumerate(indices(split, data)):
            self.side[rows] = number
        self.label, self.content, self.cluster = (
            np.unique(texts, return_inverse=True)[1]
            for texts in (self.labels, data.records["pixels"].to_list(), data.groups)
        )

    def pair(self, first: int, second: int, kind: Literal["identical", "near"], similarity: float) -> ImagePair:
        return ImagePair(
            first=self.case_ids[first],
            second=self.case_ids[second],
            sides=(_SIDES[self.side[first]], _SIDES[self.side[second]]),
            labels=(self.labels[first], self.labels[second]),
            kind=kind,
            similarity=round(float(similarity), 4),
        )

    def into_test(self, first: Rows, second: Rows) -> npt.NDArray[np.bool_]:
        """Whether one of each pair is a test image and the other a training or validation image."""
        low, high = np.sort([self.side[first], self.side[second]], axis=0)
        return np.asarray((low < _TEST) & (high == _TEST))

    def order(self, first: Rows, second: Rows, similarity: npt.NDArray[np.float64]) -> Rows:
        """Places of the pairs, the worst first."""
        same_label = self.label[first] == self.label[second]
        return np.lexsort((second, first, -similarity, same_label, ~self.into_test(first, second)))


def _label_texts(data: DecodedDataset) -> list[str]:
    if not data.multi_label:
        return [data.classes[label] for label in data.labels.tolist()]
    return ["+".join(data.classes[at] for at in np.flatnonzero(borne)) or "none" for borne in data.labels]


def _identical(table: _Table) -> tuple[ImagePair, ...]:
    representative: dict[int, int] = {}
    pairs = []
    # A training image stands for its copies, so that each copy in test is one of a pair that straddles.
    for row in sorted(range(len(table.case_ids)), key=lambda row: (table.side[row], table.case_ids[row])):
        before = representative.setdefault(int(table.content[row]), row)
        if before != row:
            pairs.append((before, row))
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    order = table.order(first, second, np.ones(len(pairs)))
    return tuple(table.pair(first[at], second[at], "identical", 1.0) for at in order)


def _worst_first(table: _Table, near: NearPairs) -> Rows:
    """Places in ``near``, one for each pair of different contents: the worst of its copies, and the worst first."""
    order = table.order(near.first, near.second, near.similarity)
    low, high = np.sort([table.content[near.first[order]], table.content[near.second[order]]], axis=0)
    _, earliest = np.unique(low * len(table.case_ids) + high, return_index=True)
    return order[np.sort(earliest)]


def _random_pairs(cluster: Rows) -> tuple[Rows, Rows]:
    """Up to ``RANDOM_PAIRS`` pairs of rows of different clusters; fewer where nearly all is one cluster."""
    drawn = np.random.default_rng(0).integers(0, len(cluster), (2, 10 * RANDOM_PAIRS))
    first, second = drawn[:, cluster[drawn[0]] != cluster[drawn[1]]][:, :RANDOM_PAIRS]
    return first, second


def _notes(data: DecodedDataset, table: _Table, prints: Fingerprints, near: NearPairs, worst: Rows) -> Iterator[str]:
    reaching = table.into_test(near.first, near.second)
    rows = np.unique(np.concatenate([near.first[reaching], near.second[reaching]]))
    known, tests = int((table.side[rows] == _TEST).sum()), int((table.side == _TEST).sum())
    yield f"test images with a near-duplicate in training or validation: {known:,} of {tests:,}"
    mirrored = int(near.mirrored[worst].sum())
    kin = int((table.cluster[near.first[worst]] == table.cluster[near.second[worst]]).sum())
    yield f"pairs of near-duplicates: {len(worst):,}; mirrored: {mirrored:,}; already kept together: {kin:,}"
    if len(worst) > MOST_PAIRS:
        yield f"pairs of near-duplicates that are listed: the {MOST_PAIRS:,} worst"
    if crowded := int(near.crowded.sum()):
        yield f"images with more than {MOST_NEIGHBOURS} lookalikes, of which the closest were compared: {crowded:,}"
    if flat := int(prints.flat.sum()):
        yield f"images of one even colour, which were not compared: {flat:,}"
    if (side := prints.thumbnails.shape[1]) < THUMBNAIL:
        yield f"images were compared at {side} px; near-duplicates are told apart best from {THUMBNAIL} px on"
    yield "copies that are cropped or turned by 90 degrees are not searched for"
