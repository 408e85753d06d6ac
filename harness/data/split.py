"""Train, validation and test sides of a dataset: 64 / 16 / 20, exact in number and stratified by class."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from harness.core.errors import RequestError, suggestion
from harness.data.decoded import DecodedDataset
from harness.data.pack import assign
from harness.data.strata import strata
from harness.dataset import Dataset
from harness.run.data_records import SplitRecord

SplitKind = Literal["grouped", "random", "official", "domain"]

Indices = npt.NDArray[np.int64]

_SIDES = ("train", "val", "test")
_FEWEST = 7
"""Below, the validation side would be empty."""

_MOST_TRIES = 300


@dataclass(frozen=True, slots=True)
class Split:
    """The case ids of each side, each sorted."""

    kind: SplitKind
    seed: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    in_distribution: tuple[str, ...] = ()
    """Of a split by domain: cases of the training domains that no training sees, from which a drop is measured."""
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Cases on no side, by reason."""

    def to_json(self) -> SplitRecord:
        """A form that ``from_json`` takes back."""
        record: SplitRecord = {
            "kind": self.kind,
            "seed": self.seed,
            "train": list(self.train),
            "val": list(self.val),
            "test": list(self.test),
        }
        if self.in_distribution:
            record["in_distribution"] = list(self.in_distribution)
        if self.left_out:
            record["left_out"] = dict(self.left_out)
        return record

    @classmethod
    def from_json(cls, value: SplitRecord) -> Split:
        """The split that ``to_json`` wrote.

        Raises:
            RequestError: it is no split.
        """
        try:
            train, val, test = (tuple(map(str, side)) for side in (value["train"], value["val"], value["test"]))
            held = tuple(map(str, value.get("in_distribution", ())))
            return cls(
                _known(value["kind"]), int(value["seed"]), train, val, test, held, dict(value.get("left_out", {}))
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError(f"split: not a recorded split ({error!r}); let the sweep write it again") from error

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of which case stands on which side, however that came about."""
        sides = (*_SIDES, "in_distribution") if self.in_distribution else _SIDES
        content = {side: sorted(getattr(self, side)) for side in sides}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def kind_for(asked: SplitKind | None, dataset: Dataset) -> SplitKind:
    """The kind of split that a dataset gets: what is asked for, else the publisher's where that is by patient.

    The publisher knew patients whom the archive may not name, so a grouped split could not keep them together.
    """
    return asked or ("official" if dataset.official_by_patient else "grouped")


def make_split(data: DecodedDataset, kind: SplitKind, seed: int) -> Split:
    """Split a dataset; the result depends on the kind, the seed and the set of records, not on their order.

    ``random`` is stratified by class and ignores clusters. ``grouped`` is stratified and keeps each cluster
    on one side. Both have ``exact_counts`` images; where clusters cannot come out even at these (both eyes of
    every patient never give an odd number), ``grouped`` has the nearest counts that they can. ``official`` is
    the publisher's; where that has no validation side, a fifth of train (rounded down) is taken for it,
    grouped and stratified.

    Raises:
        RequestError: unknown kind, too few images, no official sides, or clusters that allow no such split.
    """
    kind = _known(kind)
    # One canonical order, so that the same records in another order give the same split.
    order = np.array(sorted(range(len(data.case_ids)), key=data.case_ids.__getitem__), dtype=np.int64)
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"split/{kind}/{seed}".encode()).digest()[:16]))
    if kind == "domain":
        raise RequestError("split.kind: a split by domain needs a column and its values; name split.by and split.test")
    if kind == "official":
        sides = _official(data, order, rng)
    else:
        n = len(order)
        if n < _FEWEST:
            raise RequestError(f"{kind} split: {n} images are too few for three sides; at least {_FEWEST} are needed")
        sides = divide_near(data, order, exact_counts(n), kind, rng)
    return _split(data, kind, seed, order, sides)


def make_folds(data: DecodedDataset, kind: SplitKind, seed: int, folds: int) -> list[Split]:
    """Splits whose test sides are the folds of a dataset: each case is tested in exactly one.

    The folds are stratified by class and as equal in number as the clusters allow. What is not in a fold is divided 80
    to 20 into training and validation, as ``make_split`` divides. Depends on what that depends on.

    Args:
        data: of the dataset.
        kind: ``grouped`` keeps each cluster in one fold; ``random`` does not.
        seed: of the division.
        folds: how many, at least 2.

    Raises:
        RequestError: ``official`` sides, fewer clusters than folds, or clusters that allow no such folds.
    """
    kind = _known(kind)
    if kind == "domain":
        raise RequestError("domain split: its test side is given and makes no folds; name split.seeds")
    if kind == "official":
        raise RequestError("official split: the publisher's sides make no folds; write `split: {kind: grouped}`")
    order = np.array(sorted(range(len(data.case_ids)), key=data.case_ids.__getitem__), dtype=np.int64)
    units = len(order) if kind == "random" else len(set(data.groups))
    if units < folds:
        what = "images" if kind == "random" else "groups of images that belong together"
        raise RequestError(f"{folds} folds: there are only {units} {what}; take fewer folds")
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"folds/{kind}/{seed}/{folds}".encode()).digest()[:16]))
    fold, left = np.full(len(order), folds - 1, dtype=np.int64), np.arange(len(order))
    # One fold after the other is taken off what is left, each in proportion to the classes there.
    for number in range(folds - 1):
        taken = round(len(left) / (folds - number))
        sides = divide_near(data, order[left], (len(left) - taken, taken, 0), kind, rng)
        fold[left[sides == 1]] = number
        left = left[sides == 0]
    splits = []
    for number in range(folds):
        sides = np.full(len(order), 2, dtype=np.int64)
        rest = np.flatnonzero(fold != number)
        held = max(1, len(rest) * 16 // 80)
        sides[rest] = divide_near(data, order[rest], (len(rest) - held, held, 0), kind, rng)
        splits.append(_split(data, kind, seed, order, sides))
    return splits


def _split(data: DecodedDataset, kind: SplitKind, seed: int, order: Indices, sides: Indices) -> Split:
    train, val, test = (tuple(data.case_ids[row] for row in order[sides == side]) for side in range(len(_SIDES)))
    return Split(kind, seed, train, val, test)


def exact_counts(n: int) -> tuple[int, int, int]:
    """Training, validation and test images of n: floor(0.64 n), floor(0.16 n) and the rest."""
    return 64 * n // 100, 16 * n // 100, n - 64 * n // 100 - 16 * n // 100


def indices(split: Split, data: DecodedDataset) -> tuple[Indices, Indices, Indices]:
    """Rows of the train, validation and test cases in ``data``: int64, ascending.

    Raises:
        RequestError: a case is not in the data, or stands twice in the split.
    """
    rows = {case_id: row for row, case_id in enumerate(data.case_ids)}
    named = [*split.train, *split.val, *split.test, *split.in_distribution]
    unknown = [case_id for case_id in named if case_id not in rows]
    if unknown:
        raise RequestError(
            f"split: {len(unknown)} of its cases are not in the data, such as {unknown[0]!r}; "
            "it was made for other data or options"
        )
    if len(set(named)) != len(named):
        raise RequestError("split: a case stands on two sides or twice on one; the file was edited, write it again")
    train, val, test = (_rows(side, rows) for side in (split.train, split.val, split.test))
    return train, val, test


def in_distribution_rows(split: Split, data: DecodedDataset) -> Indices:
    """Rows of the held-out cases of the training domains in ``data``: int64, ascending; none but of a split by domain.

    Raises:
        KeyError: a case is not in the data.
    """
    return _rows(split.in_distribution, data.rows)


def _rows(cases: Sequence[str], rows: Mapping[str, int]) -> Indices:
    return np.sort(np.array([rows[case_id] for case_id in cases], dtype=np.int64))


def _divide(
    data: DecodedDataset, order: Indices, counts: Sequence[int], kind: SplitKind, rng: np.random.Generator
) -> Indices:
    """Side of each row of ``order``, 0, 1 or 2: stratified, exact in number, and whole in clusters unless ``random``.

    Raises:
        RequestError: no such division exists.
    """
    if kind != "random":
        first: dict[str, int] = {}
        cluster = np.array([first.setdefault(data.groups[row], len(first)) for row in order], dtype=np.int64)
    else:
        cluster = np.arange(len(order), dtype=np.int64)
    stratum = strata(data.labels)[order]
    composition = np.zeros((int(cluster.max()) + 1, max(len(data.classes), int(stratum.max()) + 1)), dtype=np.int64)
    np.add.at(composition, (cluster, stratum), 1)
    sides = assign(composition, np.array(counts, dtype=np.int64), rng.random(len(composition)))
    if sides is None:
        largest = int(composition.sum(axis=1).max())
        raise RequestError(
            f"{kind} split: {len(composition)} clusters, the largest of {largest} images, do not come out "
            f"even at {' / '.join(map(str, counts))} images; divide the largest groups if they are not one patient"
        )
    return np.asarray(sides[cluster], dtype=np.int64)


def divide_near(
    data: DecodedDataset, order: Indices, exact: tuple[int, int, int], kind: SplitKind, rng: np.random.Generator
) -> Indices:
    """Sides at the exact counts, or at the nearest ones that the clusters allow; a side of 0 stays empty.

    Raises:
        RequestError: no such counts are near.
    """
    refused: RequestError | None = None
    sizes = np.array([*Counter(data.groups[row] for row in order).values()])
    unit = 1 if kind == "random" else math.gcd(*map(int, sizes))
    tried = 0
    for counts in _by_distance(exact, int(sizes.max())):
        # What is no multiple of all sizes' common divisor need not be tried.
        if any(count % unit for count in counts):
            continue
        try:
            return _divide(data, order, counts, kind, rng)
        except RequestError as error:
            refused = refused or error
        tried += 1
        if tried == _MOST_TRIES:
            break
    raise refused or RequestError(f"{kind} split: groups of {unit} images cannot be divided; use smaller ones")


def _by_distance(exact: tuple[int, int, int], farthest: int) -> Iterator[tuple[int, int, int]]:
    """Counts of the same sum by the largest deviation of a side; those of 0, and no others, stay 0."""
    for distance in range(farthest + 1):
        for first, second in itertools.product(range(-distance, distance + 1), repeat=2):
            counts = (exact[0] + first, exact[1] + second, exact[2] - first - second)
            as_empty = all(
                (count > 0) == (wanted > 0) and count >= 0 for count, wanted in zip(counts, exact, strict=True)
            )
            if as_empty and max(abs(first), abs(second), abs(first + second)) == distance:
                yield counts


def _official(data: DecodedDataset, order: Indices, rng: np.random.Generator) -> Indices:
    given = [data.official[row] for row in order]
    missing = given.count(None)
    absent = [side for side in ("train", "test") if side not in given]
    if missing or absent:
        what = f"{missing} of {len(given)} images have no official side" if missing else f"no official {absent[0]} side"
        raise RequestError(f"official split: {what}; write `split: {{kind: grouped}}`")
    sides = np.array([_SIDES.index(str(side)) for side in given], dtype=np.int64)
    if "val" not in given:
        train = np.flatnonzero(sides == 0)
        taken = len(train) * 16 // 80
        sides[train] = divide_near(data, order[train], (len(train) - taken, taken, 0), kind="official", rng=rng)
    return sides


def _known(kind: Any) -> SplitKind:
    for known in get_args(SplitKind):
        if kind == known:
            chosen: SplitKind = known
            return chosen
    raise RequestError(f"split kind {kind!r}: unknown{suggestion(str(kind), get_args(SplitKind))}")
