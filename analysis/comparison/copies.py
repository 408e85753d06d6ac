"""Trainings that are copies of one another: seeds with the same predictions or scores are no independent draws.

A copy is noticed by its predictions, where there are any, and else by scores that agree in every metric more closely
than chance allows. Trainings on different splits have other test cases: they are no copies of one another. A copied
seed is left out of every mean, interval and test. A method that gives the same predictions for *every* seed may be
deterministic: against a method that varies its seeds are kept, since the other one's trainings are independent, and a
caution says that its own are not; two such methods have one training each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from analysis.comparison.evidence import Cell, Predictions
from analysis.stats.cautions import Caution
from analysis.stats.estimate import FloatArray

SAME = 1e-6
"""Distance of two logits, relative to the largest, that rounding in a file may explain; retraining gives far more."""
UNLIKELY = 1e-3
"""Chance of one tie or more among a method's seeds below which equal scores are copies."""
_FINEST = 10**12
"""Steps to which a score that is no simple fraction is taken to be known."""

Trial = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Copies:
    """What is not independent among the trainings of one dataset."""

    origin: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """Method → copied seed → the smallest seed that it equals."""
    constant: frozenset[str] = frozenset()
    """Methods of which all seeds, two and more, gave the same predictions."""
    cautions: Mapping[str, tuple[Caution, ...]] = field(default_factory=dict)
    """Method → what is to be said of it."""

    def independent(self, methods: Sequence[str], seeds: Iterable[int]) -> tuple[int, ...]:
        """Those of the ascending seeds that stand for a training of their own in each of the methods that vary."""
        varying = [method for method in methods if method not in self.constant] or [methods[0]]
        seen: set[Trial] = set()
        kept = []
        for seed in seeds:
            trainings = {(method, self.origin.get(method, {}).get(seed, seed)) for method in varying}
            if not trainings & seen:
                kept.append(seed)
            seen |= trainings
        return tuple(kept)

    def of(self, *methods: str) -> tuple[Caution, ...]:
        """What is to be said of some methods."""
        return tuple(caution for method in methods for caution in self.cautions.get(method, ()))


def copies_on(cells: Mapping[str, Cell], predictions: Predictions | None) -> Copies:
    """Find the copies among the trainings of one dataset.

    Args:
        cells: method → what its confirmation gave.
        predictions: of the dataset, where there are any.
    """
    known: Mapping[str, Mapping[int, FloatArray]] = {} if predictions is None else predictions.logits
    shared: list[list[Trial]] = [] if predictions is None else list(_same_predictions(predictions))
    origin: dict[str, dict[int, int]] = {}
    for group in shared:
        for method, seeds in _by_method(group).items():
            origin.setdefault(method, {}).update(dict.fromkeys(seeds[1:], seeds[0]))
    constant = {method for method, own in known.items() if len(own) > 1 and len(origin.get(method, {})) == len(own) - 1}
    said: dict[str, list[Caution]] = {}
    for method, copied in origin.items():
        said.setdefault(method, []).append(
            _constant(method, known[method], bool(cells[method].splits))
            if method in constant
            else _copied(method, copied, "predictions")
        )
    for group in shared:
        names = list(_by_method(group))
        for name in names if len(names) > 1 else ():
            said.setdefault(name, []).append(_of_others(group, names))
    unseen = {method: cell for method, cell in cells.items() if not set(cell.seeds) <= set(known.get(method, {}))}
    for method, copied in _same_scores_by_split(unseen).items():
        own = origin.setdefault(method, {})
        new = {seed: first for seed, first in copied.items() if seed not in own and seed not in known.get(method, {})}
        if new:
            own.update(new)
            said.setdefault(method, []).append(_copied(method, new, "value of every metric"))
    return Copies(origin, frozenset(constant), {method: tuple(dict.fromkeys(own)) for method, own in said.items()})


def _same_predictions(predictions: Predictions) -> Iterator[list[Trial]]:
    """Groups of two and more trainings, of any method, whose predictions are the same up to rounding."""
    trials = [(method, seed) for method, own in predictions.logits.items() for seed in sorted(own)]
    if not trials:
        return
    # A constant that is added to all logits of a case changes no probability, unless each class is its own question.
    shifts = predictions.labels.ndim == 1
    first = predictions.logits[trials[0][0]][trials[0][1]]
    weights = np.random.default_rng(0).normal(size=first.shape)
    if shifts:
        weights -= weights.mean(axis=1, keepdims=True)
    marks = [float(np.vdot(weights, predictions.logits[method][seed])) for method, seed in trials]
    groups: list[list[Trial]] = []
    for place in np.argsort(marks, kind="stable").tolist():
        method, seed = trials[place]
        if groups:
            other, earlier = groups[-1][0]
            if _equal(predictions.logits[method][seed], predictions.logits[other][earlier], shifts):
                groups[-1].append((method, seed))
                continue
        groups.append([(method, seed)])
    yield from (sorted(group) for group in groups if len(group) > 1)


def _equal(a: FloatArray, b: FloatArray, shifts: bool) -> bool:
    gap = a - b
    if shifts:
        gap = gap - gap.mean(axis=1, keepdims=True)
    return float(np.abs(gap).max()) <= SAME * float(np.abs(a).max())


def _same_scores_by_split(cells: Mapping[str, Cell]) -> dict[str, dict[int, int]]:
    """Method → copied seed → the seed that it equals, among those of one split."""
    by_split: dict[str | None, dict[str, dict[int, tuple[float | None, ...]]]] = {}
    for method, cell in cells.items():
        for seed, values in _rows(cell).items():
            by_split.setdefault(cell.splits.get(seed), {}).setdefault(method, {})[seed] = values
    found: dict[str, dict[int, int]] = {}
    for rows in by_split.values():
        for method, copied in _same_scores(rows).items():
            found.setdefault(method, {}).update(copied)
    return found


def _same_scores(rows: Mapping[str, Mapping[int, tuple[float | None, ...]]]) -> dict[str, dict[int, int]]:
    """Method → copied seed → the seed that it equals, by the scores alone.

    Args:
        rows: method → seed → the values of every metric, all on the same test cases.

    Equal scores are common where few cases are counted. They are copies where chance would hardly give one such tie
    among the seeds: of one method by itself, or of all methods that have the seeds at once.
    """
    chances = {method: _tie_chance(own) for method, own in rows.items()}
    result: dict[str, dict[int, int]] = {}
    for method, own in rows.items():
        if chances[method] * math.comb(len(own), 2) <= UNLIKELY:
            result[method] = _earlier(own)
    together: dict[int, list[tuple[str, tuple[float | None, ...]]]] = {}
    for method, own in rows.items():
        for seed, values in own.items():
            together.setdefault(seed, []).append((method, values))
    for seed, first in _earlier({seed: tuple(own) for seed, own in sorted(together.items())}).items():
        methods = [method for method, _ in together[seed]]
        if math.prod(chances[method] for method in methods) * math.comb(len(together), 2) <= UNLIKELY:
            for method in methods:
                result.setdefault(method, {})[seed] = first
    return {method: copied for method, copied in result.items() if copied}


def _rows(cell: Cell) -> dict[int, tuple[float | None, ...]]:
    metrics = sorted(cell.scores)
    return {seed: tuple(cell.scores[name].get(seed) for name in metrics) for seed in cell.seeds}


def _tie_chance(rows: Mapping[int, tuple[float | None, ...]]) -> float:
    """About the chance that two seeds agree in every metric: of normal values on a grid, by the finest metric."""
    chance = 1.0
    for column in zip(*rows.values(), strict=True):
        values = sorted({value for value in column if value is not None})
        if len(values) > 1:
            steps = min(_FINEST, math.lcm(*map(_denominator, values)))
            chance = min(chance, 1 / (2 * math.sqrt(math.pi) * float(np.std(values)) * steps))
    return chance


def _denominator(value: float) -> int:
    near = Fraction(value).limit_denominator(10**6)
    return near.denominator if abs(float(near) - value) <= 1e-12 * max(1.0, abs(value)) else _FINEST


def _earlier(rows: Mapping[int, object]) -> dict[int, int]:
    """Seed → the first one with the same row, for every seed that is not the first."""
    first: dict[object, int] = {}
    found = {seed: first.setdefault(values, seed) for seed, values in rows.items()}
    return {seed: earlier for seed, earlier in found.items() if earlier != seed}


def _by_method(group: Sequence[Trial]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for method, seed in group:
        found.setdefault(method, []).append(seed)
    return found


def _copied(method: str, copied: Mapping[int, int], what: str) -> Caution:
    parts = [
        f"{_seeds([seed for seed, own in copied.items() if own == first])} of seed {first}"
        for first in dict.fromkeys(copied.values())
    ]
    return Caution(
        "copied_seeds",
        f"{method} has the same {what} more than once ({'; '.join(parts)}): copies are no independent trainings, so "
        "they are left out.",
    )


def _constant(method: str, seeds: Iterable[int], several_splits: bool) -> Caution:
    where = " of one split" if several_splits else ""
    return Caution(
        "constant_predictions",
        f"{method} gave the same predictions in all its seeds{where} ({', '.join(map(str, sorted(seeds)))}): they are "
        "copies, or the method is deterministic. Its comparisons draw only the other method's training anew, and it is "
        "not compared with another such method.",
    )


def _of_others(group: Sequence[Trial], names: Sequence[str]) -> Caution:
    listed = "; ".join(f"{method}, {_seeds(seeds)}" for method, seeds in _by_method(group).items())
    return Caution(
        "same_predictions",
        f"{' and '.join(names)} gave the same predictions ({listed}): one may be a copy of the other under "
        "a second name.",
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
