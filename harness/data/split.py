"""Train, validation and test sides of a dataset: 64 / 16 / 20, exact in number and stratified by class."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from harness.data.cache import DecodedDataset
from harness.data.pack import assign
from harness.errors import RequestError, suggestion

SplitKind = Literal["grouped", "random", "official"]

Indices = npt.NDArray[np.int64]

_SIDES = ("train", "val", "test")
_FEWEST = 7
"""Below, the validation side would be empty."""


@dataclass(frozen=True, slots=True)
class Split:
    """The case ids of each side, each sorted."""

    kind: SplitKind
    seed: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A form that ``from_json`` takes back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Split:
        """The split that ``to_json`` wrote.

        Raises:
            RequestError: it is no split.
        """
        try:
            train, val, test = (tuple(map(str, value[side])) for side in _SIDES)
            return cls(_known(value["kind"]), int(value["seed"]), train, val, test)
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError(f"split: not a recorded split ({error!r}); let the sweep write it again") from error

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of which case stands on which side, however that came about."""
        content = {side: sorted(getattr(self, side)) for side in _SIDES}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def make_split(data: DecodedDataset, kind: SplitKind, seed: int) -> Split:
    """Split a dataset; the result depends on the kind, the seed and the set of records, not on their order.

    ``random`` is stratified by class and ignores clusters. ``grouped`` is stratified and keeps each cluster
    on one side. Both have exactly floor(0.64 n) train, floor(0.16 n) validation and the remaining test
    images. ``official`` is the publisher's; where that has no validation side, a fifth of train (rounded
    down) is taken for it, grouped and stratified.

    Raises:
        RequestError: unknown kind, too few images, no official sides, or clusters that allow no such split.
    """
    kind = _known(kind)
    # One canonical order, so that the same records in another order give the same split.
    order = np.array(sorted(range(len(data.case_ids)), key=data.case_ids.__getitem__), dtype=np.int64)
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"split/{kind}/{seed}".encode()).digest()[:16]))
    if kind == "official":
        sides = _official(data, order, rng)
    else:
        n = len(order)
        if n < _FEWEST:
            raise RequestError(f"{kind} split: {n} images are too few for three sides; at least {_FEWEST} are needed")
        counts = (64 * n // 100, 16 * n // 100, n - 64 * n // 100 - 16 * n // 100)
        sides = _stratified(data, order, counts, kind, rng)
    train, val, test = (tuple(data.case_ids[row] for row in order[sides == side]) for side in range(len(_SIDES)))
    return Split(kind, seed, train, val, test)


def indices(split: Split, data: DecodedDataset) -> tuple[Indices, Indices, Indices]:
    """Rows of the train, validation and test cases in ``data``: int64, ascending.

    Raises:
        RequestError: a case is not in the data, or stands twice in the split.
    """
    rows = {case_id: row for row, case_id in enumerate(data.case_ids)}
    named = [*split.train, *split.val, *split.test]
    unknown = [case_id for case_id in named if case_id not in rows]
    if unknown:
        raise RequestError(
            f"split: {len(unknown)} of its cases are not in the data, such as {unknown[0]!r}; "
            "it was made for other data or options"
        )
    if len(set(named)) != len(named):
        raise RequestError("split: a case stands on two sides or twice on one; the file was edited, write it again")
    train, val, test = (
        np.sort(np.array([rows[case_id] for case_id in side], dtype=np.int64))
        for side in (split.train, split.val, split.test)
    )
    return train, val, test


def _stratified(
    data: DecodedDataset, order: Indices, counts: Sequence[int], kind: SplitKind, rng: np.random.Generator
) -> Indices:
    """Side of each row of ``order``: 0, 1 or 2."""
    if kind != "random":
        first: dict[str, int] = {}
        cluster = np.array([first.setdefault(data.groups[row], len(first)) for row in order], dtype=np.int64)
    else:
        cluster = np.arange(len(order), dtype=np.int64)
    composition = np.zeros((int(cluster.max()) + 1, len(data.classes)), dtype=np.int64)
    np.add.at(composition, (cluster, data.labels[order]), 1)
    sides = assign(composition, np.array(counts, dtype=np.int64), rng.random(len(composition)))
    if sides is None:
        largest = int(composition.sum(axis=1).max())
        raise RequestError(
            f"{kind} split: {len(composition)} clusters, the largest of {largest} images, do not come out "
            f"even at {' / '.join(map(str, counts))} images; choose another kind of split"
        )
    return np.asarray(sides[cluster], dtype=np.int64)


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
        sides[train] = _stratified(data, order[train], (len(train) - taken, taken, 0), kind="official", rng=rng)
    return sides


def _known(kind: Any) -> SplitKind:
    for known in get_args(SplitKind):
        if kind == known:
            chosen: SplitKind = known
            return chosen
    raise RequestError(f"split kind {kind!r}: unknown{suggestion(str(kind), get_args(SplitKind))}")
