"""CMA-ES: a normal distribution over the space that moves, stretches and turns towards what scored best.

The sampler is the one of the package ``cmaes``; the number of a generation and the place in it follow from the slot.
A generation is drawn when the one before it is finished, so the slots of a generation may run at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.core.errors import RequestError
from harness.core.seeds import derive_seed
from harness.search.draws import random_configuration
from harness.search.sampler import Asked, Sampler
from harness.space.conditions import broken
from harness.space.parameters import Choice, Float, Int, Space, Value, defaults, searched, wanted
from harness.spec.search import SearchSpec

if TYPE_CHECKING:
    from cmaes import CMAwM

FIRST_SIGMA = 0.3
"""Of each hyperparameter's range: Hansen 2016, "The CMA Evolution Strategy", arXiv 1604.00772, appendix B."""
ATTEMPTS = 50

Vector = npt.NDArray[np.float64]


class EvolutionSampler(Sampler):
    """CMA-ES with margin, which keeps whole numbers apart (Hamano et al. 2022, arXiv 2205.13482).

    It begins around the default configuration. A generation has 4 + ⌊3 ln n⌋ slots for n hyperparameters (Hansen 2016).
    """

    name = "cmaes"

    _drawn: list[tuple[dict[str, Value], Vector]]
    """Of the generation that is being asked: each configuration, and the point that the strategy is told of."""

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        super().__init__(space, search, study, prior)
        varied = searched(space)
        for name, parameter in varied.items():
            if isinstance(parameter, Choice):
                raise RequestError(
                    f"search.sampler: cmaes needs numbers, and {name!r} is a choice; give it a range "
                    f"({name}: {{int: [low, high]}}) or a fixed value, or use tpe"
                )
            if wanted(parameter):
                raise RequestError(f"search.sampler: cmaes needs what always counts, {name!r} has a `when`; use tpe")
        if len(varied) == 1:
            (name,) = varied
            raise RequestError(
                f"search.sampler: cmaes needs two hyperparameters, {study} searches only {name!r}; use gp"
            )
        self._varied: Mapping[str, Float | Int] = {n: p for n, p in varied.items() if not isinstance(p, Choice)}
        self._size = 4 + math.floor(3 * math.log(max(1, len(varied))))
        if varied:
            self._restart()

    def conditioning(self, slot: int) -> range:
        """The slots of all generations before the slot's own."""
        return range(self._first(self._generation(slot)) if slot > self._size else 0)

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration of a slot; see ``Sampler.ask``."""
        known = {entry.slot: entry for entry in history}
        number = self._generation(slot)
        scores = [self._scores(generation, known) for generation in range(number)]
        if self._told != scores[: len(self._told)]:
            self._restart()
        for ranked in scores[len(self._told) :]:
            self._evolution.tell([(told, loss) for (_, told), loss in zip(self._drawn, _losses(ranked), strict=True)])
            self._told.append(ranked)
            self._drawn = self._draw()
        return dict(self._drawn[slot - self._first(number)][0])

    def _generation(self, slot: int) -> int:
        return (slot - 1) // self._size

    def _first(self, generation: int) -> int:
        return 1 + generation * self._size

    def _scores(self, generation: int, known: Mapping[int, Asked]) -> list[float | None]:
        return [known[slot].score for slot in range(self._first(generation), self._first(generation + 1))]

    def _restart(self) -> None:
        from cmaes import CMAwM

        self._told: list[list[float | None]] = []
        steps = [
            1 / (p.high - p.low) if isinstance(p, Int) and not p.log and p.high > p.low else 0.0
            for p in self._varied.values()
        ]
        self._evolution: CMAwM = CMAwM(
            mean=self._unit(defaults(self.space)),
            sigma=FIRST_SIGMA,
            bounds=np.tile([0.0, 1.0], (len(steps), 1)),
            steps=np.array(steps),
            seed=derive_seed("cmaes", self.study) % 2**32,
            population_size=self._size,
        )
        self._drawn = self._draw()

    def _draw(self) -> list[tuple[dict[str, Value], Vector]]:
        """A generation: each configuration, and the point that the strategy is told of."""
        return [self._allowed(number) for number in range(self._size)]

    def _allowed(self, place: int) -> tuple[dict[str, Value], Vector]:
        for _ in range(ATTEMPTS):
            point, told = self._evolution.ask()
            found = self._configuration(point)
            if not broken(self.space, found):
                return found, told
        found = random_configuration(self.space, self.study, self._first(len(self._told)) + place)
        return found, self._unit(found)

    def _configuration(self, point: Vector) -> dict[str, Value]:
        found = defaults(self.space)
        for (name, parameter), share in zip(self._varied.items(), point, strict=True):
            low, high = _scale(parameter)
            value = low + float(share) * (high - low)
            value = math.exp(value) if parameter.log else value
            within = min(max(value, parameter.low), parameter.high)
            found[name] = round(within) if isinstance(parameter, Int) else within
        return found

    def _unit(self, configuration: Mapping[str, Value]) -> Vector:
        """Where each hyperparameter lies in its range, from 0 to 1."""
        shares = []
        for name, parameter in self._varied.items():
            low, high = _scale(parameter)
            value = float(configuration[name])
            shares.append(0.5 if high == low else ((math.log(value) if parameter.log else value) - low) / (high - low))
        return np.array(shares, dtype=np.float64)


def _scale(parameter: Float | Int) -> tuple[float, float]:
    low, high = float(parameter.low), float(parameter.high)
    return (math.log(low), math.log(high)) if parameter.log else (low, high)


def _losses(scores: Sequence[float | None]) -> list[float]:
    """What is minimised, of which the order alone counts; a slot without a score is worse than all others."""
    worst = max((-score for score in scores if score is not None), default=0.0) + 1.0
    return [worst if score is None else -score for score in scores]
