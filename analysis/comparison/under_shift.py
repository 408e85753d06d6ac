"""From a shift to everything that a report says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.comparison.compare import Analysis, analyse
from analysis.comparison.drops import BeyondLine, CorruptionError, DatasetDrops, Drop, DropDifference, drop_differences
from analysis.comparison.pairs import DatasetValues
from analysis.comparison.shifts import Shift
from analysis.stats.estimate import Estimate

BySeed = Mapping[int, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityScore:
    """The score of a method at one severity: mean over sets and trainings."""

    dataset: str
    method: str
    severity: int
    mean: float
    low: float
    """Of the lowest training."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScore:
    """The score of a method on one set: mean over severities and trainings."""

    dataset: str
    method: str
    set: str
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftFindings:
    """What is known of one shift."""

    shift: Shift
    analysis: Analysis | None
    """Methods against each other; None where that is the main comparison of the report."""
    drops: tuple[Drop, ...]
    drop_differences: tuple[DropDifference, ...]
    corruption_errors: tuple[CorruptionError, ...]
    beyond_line: tuple[BeyondLine, ...]
    by_severity: tuple[SeverityScore, ...]
    by_set: tuple[SetScore, ...]
    """Empty where there is one set alone."""


def findings_under(shifts: Sequence[Shift]) -> tuple[ShiftFindings, ...]:
    """Analyse every shift; each is a question, and a family of comparisons, of its own."""
    return tuple(_findings(shift) for shift in shifts)


def _findings(shift: Shift) -> ShiftFindings:
    drops: list[Drop] = []
    differences: dict[str, list[tuple[str, str, Estimate, int]]] = {}
    errors: list[CorruptionError] = []
    beyond: list[BeyondLine] = []

    def add(values: DatasetValues) -> None:
        own = DatasetDrops(shift, values)
        drops.extend(own.drops())
        differences[values.dataset] = list(own.differences())
        errors.extend(own.corruption_errors())
        beyond.extend(own.beyond_line())

    analysis = None
    if shift.declared:
        for dataset in shift.evidence.datasets:
            add(DatasetValues(shift.evidence, dataset))
    else:
        analysis = analyse(shift.evidence, add)
    return ShiftFindings(
        shift=shift,
        analysis=analysis,
        drops=tuple(drops),
        drop_differences=tuple(drop_differences(shift, differences)),
        corruption_errors=tuple(errors),
        beyond_line=tuple(beyond),
        by_severity=tuple(_by_severity(shift)),
        by_set=tuple(_by_set(shift)) if len(shift.sets) > 1 else (),
    )


def _by_severity(shift: Shift) -> list[SeverityScore]:
    found = []
    for severity in shift.severities:
        for (dataset, method), parts in _ordered(shift):
            rows = [seeds for (_, own), seeds in parts.items() if own == severity]
            by_seed = _means(rows)
            if by_seed:
                found.append(
                    SeverityScore(
                        dataset=dataset,
                        method=method,
                        severity=severity,
                        mean=float(np.mean(by_seed)),
                        low=min(by_seed),
                        high=max(by_seed),
                    )
                )
    return found


def _by_set(shift: Shift) -> list[SetScore]:
    found = []
    for name in shift.sets:
        for (dataset, method), parts in _ordered(shift):
            by_seed = _means([seeds for (own, _), seeds in parts.items() if own == name])
            if by_seed:
                found.append(SetScore(dataset=dataset, method=method, set=name, mean=float(np.mean(by_seed))))
    return found


def _ordered(shift: Shift) -> Iterator[tuple[tuple[str, str], Mapping[tuple[str, int], BySeed]]]:
    """The scores of each method on each dataset that has them, in the order of the evidence."""
    for dataset in shift.evidence.datasets:
        for method in shift.evidence.methods:
            if (dataset, method) in shift.by_severity:
                yield (dataset, method), shift.by_severity[dataset, method]


def _means(rows: Sequence[BySeed]) -> list[float]:
    """Of each training that has all of some scores, their mean."""
    shared = sorted(set.intersection(*map(set, rows))) if rows else []
    known = [[value for row in rows if (value := row[seed]) is not None] for seed in shared]
    return [float(np.mean(values)) for values in known if len(values) == len(rows)]
