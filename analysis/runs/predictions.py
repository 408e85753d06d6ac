"""The stored test predictions of a dataset's trials, brought to one order of cases and checked against the results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.comparison.evidence import Predictions, by_appearance
from analysis.stats.cautions import Caution
from analysis.stats.estimate import FloatArray
from harness.run.trial import ReplacedFileError

TOLERANCE = 1e-9
"""By how much the accuracy of stored predictions may differ from the recorded one: rounding of one division."""


@dataclass(frozen=True, slots=True)
class PredictionSource:
    """Where the predictions of one trial come from."""

    method: str
    seed: int
    read: Callable[[], pl.DataFrame]
    """``TrialFolder.predictions``, or what gives a table of the same form."""
    accuracy: float | None
    """As the trial recorded it; None where it recorded none."""


@dataclass(frozen=True, slots=True, eq=False)
class _Cases:
    """Test cases in some order."""

    ids: pl.Series
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64] | None
    classes: int

    def order_of(self, other: pl.Series) -> npt.NDArray[np.int64] | None:
        """Where each of these cases stands in another list; None where that has other cases."""
        if len(other) != len(self.ids):
            return None
        here, there = self.ids.arg_sort().to_numpy(), other.arg_sort().to_numpy()
        if not self.ids[here].equals(other[there]):
            return None
        order = np.empty(len(here), dtype=np.int64)
        order[here] = there
        return order

    def agrees(self, other: _Cases) -> bool:
        """Whether the same cases in the same order have the same labels, groups and number of classes."""
        grouped = (self.groups is None) == (other.groups is None) and (
            self.groups is None or np.array_equal(self.groups, np.asarray(other.groups))
        )
        return grouped and self.classes == other.classes and np.array_equal(self.labels, other.labels)


class _Unusable(Exception):
    """Predictions that are left out."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def read_predictions(sources: Sequence[PredictionSource], classes: Sequence[str] | None) -> Predictions | None:
    """The predictions of one dataset; what cannot be used is left out, and a caution says so.

    Trials that do not agree on the test cases cannot be paired by case: those that most of them have are taken, the
    first trial's among equals.

    Args:
        sources: every trial that is done.
        classes: their names; None where they are not known, and their numbers stand in.

    Returns:
        None without a trial. Without any usable predictions there is no case, and the cautions say why.
    """
    if not sources:
        return None
    known: list[_Cases] = []
    found: list[tuple[PredictionSource, int, FloatArray]] = []
    refused: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for source in sources:
        try:
            found.append((source, *_aligned(*_read(source, None if classes is None else len(classes)), known)))
        except _Unusable as fault:
            refused[source.method, fault.code, fault.reason].append(source.seed)
    votes = Counter(place for _, place, _ in found)
    best = max(votes, key=lambda place: votes[place], default=None)
    logits_of: dict[str, dict[int, FloatArray]] = defaultdict(dict)
    for source, place, logits in found:
        try:
            if place != best:
                raise _Unusable("other_cases", _difference(known[place], known[best or 0]))
            _check_accuracy(logits, known[place].labels, source.accuracy)
        except _Unusable as fault:
            refused[source.method, fault.code, fault.reason].append(source.seed)
            continue
        logits_of[source.method][source.seed] = logits
    cases = known[best] if best is not None else _Cases(pl.Series([], dtype=pl.String), np.zeros(0, np.int64), None, 0)
    return Predictions(
        labels=cases.labels,
        classes=tuple(classes) if classes is not None else tuple(map(str, range(cases.classes))),
        groups=cases.groups,
        logits=dict(logits_of),
        case_ids=tuple(cases.ids.to_list()),
        cautions=tuple(_caution(*why, seeds) for why, seeds in refused.items()),
    )


def _read(source: PredictionSource, classes: int | None) -> tuple[_Cases, FloatArray]:
    try:
        frame = source.read()
    except FileNotFoundError as error:
        raise _Unusable("missing_predictions", "are not in the run directory") from error
    except ReplacedFileError as error:
        raise _Unusable("contradicting_predictions", "are not those that the trial's result was made with") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _Unusable("missing_predictions", "cannot be read") from error
    names = [name for name in frame.columns if name.startswith("logit_")]
    targets = [name for name in frame.columns if name == "label" or name.startswith("label_")]
    if not names or not targets or not {"case_id", "group"} <= set(frame.columns) or frame.is_empty():
        raise _Unusable("missing_predictions", "lack cases, labels or logits")
    if frame["case_id"].null_count() or frame["case_id"].n_unique() < frame.height:
        raise _Unusable("other_cases", "name a case twice or not at all")
    try:
        logits = np.ascontiguousarray(frame.select(names).to_numpy(), dtype=np.float64)
        labels = np.ascontiguousarray(frame.select(pl.col(targets).cast(pl.Int64)).to_numpy(), dtype=np.int64)
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise _Unusable("missing_predictions", "hold something else than numbers") from error
    if not np.isfinite(logits).all():
        raise _Unusable("contradicting_predictions", "hold a logit that is not a finite number")
    several = targets != ["label"]
    most = 1 if several else logits.shape[1] - 1
    if (several and labels.shape != logits.shape) or labels.min() < 0 or labels.max() > most:
        raise _Unusable("contradicting_predictions", "have labels that are none of their classes")
    if classes is not None and logits.shape[1] != classes:
        raise _Unusable("contradicting_predictions", f"are about {logits.shape[1]} classes instead of {classes}")
    return _Cases(frame["case_id"], labels if several else labels[:, 0], _codes(frame), logits.shape[1]), logits


def _codes(frame: pl.DataFrame) -> npt.NDArray[np.int64] | None:
    """Each case's group by order of appearance; None where every case is its own."""
    group = frame.select(pl.coalesce("group", "case_id").alias("group"))["group"]
    if group.n_unique() == len(group):
        return None
    return by_appearance(group.rank("dense").to_numpy().astype(np.int64) - 1)


def _aligned(cases: _Cases, logits: FloatArray, known: list[_Cases]) -> tuple[int, FloatArray]:
    """The place among the known cases of those that these are, and the logits in their order; new ones are added."""
    for place, one in enumerate(known):
        if one.ids.equals(cases.ids):
            if one.agrees(cases):
                return place, logits
            continue
        order = one.order_of(cases.ids)
        if order is not None:
            groups = None if cases.groups is None else by_appearance(cases.groups[order])
            if one.agrees(_Cases(one.ids, cases.labels[order], groups, cases.classes)):
                return place, logits[order]
    known.append(cases)
    return len(known) - 1, logits


def _check_accuracy(logits: FloatArray, labels: npt.NDArray[np.int64], recorded: float | None) -> None:
    if recorded is None:
        return
    right = (logits > 0) == (labels == 1) if labels.ndim == 2 else logits.argmax(axis=1) == labels
    if abs(float(right.mean()) - recorded) > TOLERANCE:
        raise _Unusable("contradicting_predictions", "do not give the accuracy that the trial recorded")


def _difference(cases: _Cases, others: _Cases) -> str:
    order = cases.order_of(others.ids)
    if order is None:
        return "are about other test cases than those of most trials"
    if not np.array_equal(cases.labels, others.labels[order]):
        return "have other labels than those of most trials"
    return "have cases that belong together in another way, or another number of classes, than those of most trials"


def _caution(method: str, code: str, reason: str, seeds: Sequence[int]) -> Caution:
    named = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"
    return Caution(
        code,
        f"{method}: the test predictions of {named} {reason}; they are left out, and comparisons that need them speak "
        "of retraining alone.",
    )
