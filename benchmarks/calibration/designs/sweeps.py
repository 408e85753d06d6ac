"""One sweep: a pool of images, searches and confirmations of two methods by every design."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.estimate import FloatArray
from benchmarks.calibration.designs.layouts import DESIGNS, Design, Splits
from benchmarks.calibration.designs.learner import (
    Configurations,
    Float32Array,
    IntArray,
    Method,
    balanced_accuracies,
    draw_pool,
    logits_of,
    train,
)

POOL, FOLDS, VALIDATION = 500, 5, 0.16
"""Images, folds, and the share of the images that a split validates on; a fold is tested on."""
DEFAULT_RATE, DEFAULT_DECAY = 0.1, 1e-3
RATES, DECAYS = (-2.5, 0.7), (-5.0, -1.0)
"""Exponents of ten between which a search draws."""
SEARCH_SEED, FIRST_CONFIRM_SEED = 0, 1000


NEW: tuple[Splits, ...] = ("random", "folds")
_Key = tuple[Splits, bool, int, int]
"""The kind of split, whether the search is on it too, which split it is, and the replicate."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Two methods that are compared."""

    name: str
    first: Method
    second: Method


TWINS = Scenario("twins", Method(4), Method(4))
"""One method under two names: equal on every split, for the average search."""
HALVES = Scenario("halves", Method(4, "one half"), Method(4, "other half"))
"""A coin an image decides which method sees its left half and which its right half: equal for the average coins, hence
for the average training set and test set, and different on every one."""
SHORTER = Scenario("shorter", Method(4), Method(2))
"""The second method trains half as long."""
SCENARIOS = (TWINS, HALVES, SHORTER)


@dataclass(frozen=True, slots=True)
class Split:
    """Places in the pool."""

    train: IntArray
    validation: IntArray
    test: IntArray

    @classmethod
    def of(cls, order: IntArray, test: IntArray) -> Split:
        """The images of ``order`` that are not in ``test``, the first of them for validation."""
        rest, validation = order[~np.isin(order, test)], round(VALIDATION * len(order))
        return cls(rest[validation:], rest[:validation], test)


@dataclass(frozen=True, slots=True)
class Searches:
    """Independent searches of one method on one split."""

    configurations: list[Configurations]
    """Of each search; the first is the default."""
    scores: FloatArray
    """On the validation side, shape (searches, slots)."""

    def choice(self, search: int, trials: int, drawn: FloatArray | None) -> int:
        """The best of the first slots, or of a bootstrap of them.

        Args:
            search: which.
            trials: how many slots it has.
            drawn: shape (slots,), in [0, 1): which slots the bootstrap draws; None for the best of all.
        """
        slots = np.arange(trials) if drawn is None else (drawn[:trials] * trials).astype(np.int64)
        return int(slots[np.argmax(self.scores[search, slots])])


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One replicate on one split: each configuration that a design may take, and the pseudo-values of its test side."""

    column: Mapping[tuple[int, int], int]
    """Row of ``values`` by search and slot."""
    values: FloatArray
    """Shape (configurations, cases), whose mean over cases is the balanced accuracy."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a design observed of two methods in one sweep."""

    differences: FloatArray
    """First minus second, shape (replicates, cases)."""
    tests: IntArray
    """Place in the pool of each case, shape (replicates, cases)."""
    trains: IntArray
    """Place in the pool of each image trained on, shape (replicates, images)."""
    searches: list[int]
    """The search of each replicate."""
    score: float
    """Mean balanced accuracy of the first method."""

    @property
    def test_to_train(self) -> float:
        """Test images by training images."""
        return float(self.tests.shape[1] / self.trains.shape[1])


class Sweep:
    """All searches and confirmations of one sweep, from which the tables of every design follow.

    Args:
        scenario: the two methods.
        trials: numbers of slots of a search, each of which is looked at.
        replicates: numbers of replicates, likewise.
        key: of its random numbers.
        designs: those that are asked for; what others would need is not trained.
        images: in the pool, at least 50 and a multiple of 5.
    """

    def __init__(
        self,
        scenario: Scenario,
        trials: Sequence[int],
        replicates: Sequence[int],
        key: tuple[int, ...],
        designs: Sequence[Design] = DESIGNS,
        images: int = POOL,
    ) -> None:
        self.trials, self.replicates, self.designs = trials, replicates, designs
        most, slots = max(replicates), max(trials)
        self._pool = draw_pool(np.random.default_rng((*key, 0)), images)
        folds, new = _folds(key, most, images), _random(key, most, images)
        self._splits: dict[Splits, list[Split]] = {"one": folds[:1] * most, "random": new, "folds": folds}
        self._searched: list[Searches] = []
        self._nested: list[dict[tuple[Splits, int], Searches]] = []
        self._drawn: list[FloatArray] = []
        self._confirmed: list[dict[_Key, Confirmed]] = []
        for place, method in enumerate((scenario.first, scenario.second)):
            inputs = self._pool.seen_by(method)
            rng = np.random.default_rng((*key, 3, place))
            self._drawn.append(rng.random((most, slots)))
            drawn = [_draw_configurations(rng, slots) for _ in range(most)]
            self._searched.append(self._search(method, inputs, drawn, folds[0]))
            nested: dict[tuple[Splits, int], Searches] = {}
            self._nested.append(nested)
            for splits in NEW:
                searched = any(design.nested and design.splits == splits for design in designs)
                for place_of_split, split in enumerate(self._splits[splits]):
                    # Drawn in any case, so that a design's numbers do not depend on which others are asked for.
                    drawn = [_draw_configurations(rng, slots)]
                    if searched:
                        nested[splits, place_of_split] = self._search(method, inputs, drawn, split)
            self._confirmed.append(
                {key: self._confirm(place, method, inputs, *key, taken) for key, taken in self._needed(place).items()}
            )

    def table(self, design: Design, trials: int, replicates: int) -> Table:
        """The differences that a design sees."""
        rows, scores = [], []
        used = [design.split(replicate) for replicate in range(replicates)]
        for replicate, split in enumerate(used):
            first, second = (one[design.splits, design.nested, split, replicate] for one in self._confirmed)
            own, other = (
                one.values[one.column[self._taken(place, design, trials, replicate, replicates)]]
                for place, one in enumerate((first, second))
            )
            rows.append(own - other)
            scores.append(own.mean())
        splits = [self._splits[design.splits][split] for split in used]
        return Table(
            np.stack(rows),
            np.stack([split.test for split in splits]),
            np.stack([split.train for split in splits]),
            design.groups(replicates),
            float(np.mean(scores)),
        )

    def _taken(self, place: int, design: Design, trials: int, replicate: int, replicates: int) -> tuple[int, int]:
        """Search and slot whose configuration a replicate takes."""
        if design.nested:
            return 0, self._nested[place][design.splits, design.split(replicate)].choice(0, trials, None)
        search, resampled = design.draws(replicate, replicates)
        drawn = self._drawn[place][replicate] if resampled else None
        return search, self._searched[place].choice(search, trials, drawn)

    def _needed(self, place: int) -> dict[_Key, set[tuple[int, int]]]:
        """What each replicate on each split has to be trained with, for all designs together."""
        needed: dict[_Key, set[tuple[int, int]]] = {}
        for design in self.designs:
            for replicates in self.replicates:
                for replicate in range(replicates):
                    key = design.splits, design.nested, design.split(replicate), replicate
                    taken = needed.setdefault(key, set())
                    taken |= {self._taken(place, design, slots, replicate, replicates) for slots in self.trials}
        return needed

    def _search(self, method: Method, inputs: Float32Array, drawn: list[Configurations], split: Split) -> Searches:
        together = Configurations(
            np.concatenate([one.rates for one in drawn]), np.concatenate([one.decays for one in drawn])
        )
        labels = self._pool.labels
        trained = train(inputs[split.train], labels[split.train], together, SEARCH_SEED, method.epochs)
        logits = logits_of(inputs[split.validation], *trained)
        return Searches(drawn, balanced_accuracies(logits, labels[split.validation]).reshape(len(drawn), -1))

    def _confirm(
        self,
        place: int,
        method: Method,
        inputs: Float32Array,
        splits: Splits,
        nested: bool,
        place_of_split: int,
        replicate: int,
        wanted: set[tuple[int, int]],
    ) -> Confirmed:
        taken, labels = sorted(wanted), self._pool.labels
        split = self._splits[splits][place_of_split]
        source = self._nested[place][splits, place_of_split] if nested else self._searched[place]
        together = Configurations(
            np.array([source.configurations[search].rates[slot] for search, slot in taken]),
            np.array([source.configurations[search].decays[slot] for search, slot in taken]),
        )
        seed = FIRST_CONFIRM_SEED + replicate
        trained = train(inputs[split.train], labels[split.train], together, seed, method.epochs)
        correct = logits_of(inputs[split.test], *trained).argmax(axis=2) == labels[split.test]
        column = {one: row for row, one in enumerate(taken)}
        return Confirmed(column, case_values(correct, labels[split.test]))


def case_values(correct: npt.NDArray[np.bool_], labels: IntArray) -> FloatArray:
    """Values whose mean over cases is the balanced accuracy, ``b + (c_i - recall_k) n / (K n_k)``.

    Args:
        correct: shape (trainings, cases).
        labels: shape (cases,).

    Returns:
        Shape (trainings, cases).
    """
    member = (labels[:, None] == np.unique(labels)).astype(np.float64)
    support, own = member.sum(axis=0), member.argmax(axis=1)
    recall = (correct @ member) / support
    scale = len(labels) / (len(support) * support)
    result: FloatArray = recall.mean(axis=1, keepdims=True) + (correct - recall[:, own]) * scale[own]
    return result


def _draw_configurations(rng: np.random.Generator, slots: int) -> Configurations:
    rates, decays = (10 ** rng.uniform(*limits, slots) for limits in (RATES, DECAYS))
    rates[0], decays[0] = DEFAULT_RATE, DEFAULT_DECAY
    return Configurations(rates.astype(np.float32), decays.astype(np.float32))


def _folds(key: tuple[int, ...], count: int, images: int) -> list[Split]:
    """Folds in which every image is tested once, then folds of another order, and so on."""

    def all_folds() -> Iterator[Split]:
        for repeat in range(-(-count // FOLDS)):
            rng = np.random.default_rng((*key, 1, repeat))
            tests = rng.permutation(images).reshape(FOLDS, -1)
            yield from (Split.of(rng.permutation(images), test) for test in tests)

    return list(all_folds())[:count]


def _random(key: tuple[int, ...], count: int, images: int) -> list[Split]:
    """Splits that are drawn apart from one another."""
    rng = np.random.default_rng((*key, 2))
    orders = [rng.permutation(images) for _ in range(count)]
    return [Split.of(order, order[-images // FOLDS :]) for order in orders]
