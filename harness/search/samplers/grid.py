"""Every configuration of a discrete space, in an order that its study's name decides."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from harness.core.errors import RequestError
from harness.core.seeds import derive_seed
from harness.search.sampler import Asked, Sampler
from harness.space.conditions import broken, with_defaults
from harness.space.parameters import Choice, Float, Space, Value, defaults, searched
from harness.spec.search import SearchSpec

MOST_POINTS = 10_000
"""As many as a study may have slots."""


class GridSampler(Sampler):
    """Every configuration of a discrete space, in a random order; conditioned on nothing."""

    name = "grid"

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        super().__init__(space, search, study, prior)
        points = _points(space)
        order = np.random.default_rng(derive_seed("grid", study)).permutation(len(points))
        self._grid = [points[index] for index in order]

    @property
    def slots(self) -> int:
        """``search.trials``, or the number of points where that is smaller."""
        return min(self.search.trials, 1 + len(self._grid))

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The point of a slot; see ``Sampler.ask``."""
        return dict(self._grid[slot - 1])


def _points(space: Space) -> list[dict[str, Value]]:
    """Every configuration of the space but the default one."""
    varied = searched(space)
    axes: list[Sequence[Value]] = []
    for name, parameter in varied.items():
        if isinstance(parameter, Float):
            raise RequestError(
                f"search.sampler: grid cannot walk through the continuous range of {name!r}; "
                f"list its values: {name}: {{choice: [{parameter.low}, {parameter.high}]}}"
            )
        axes.append(parameter.choices if isinstance(parameter, Choice) else range(parameter.low, parameter.high + 1))
    if math.prod(len(axis) for axis in axes) > MOST_POINTS:
        raise RequestError(
            f"search.sampler: the grid has more than {MOST_POINTS:,} configurations; use random, qmc or tpe"
        )
    default = defaults(space)
    found: dict[tuple[Value, ...], dict[str, Value]] = {}
    for values in itertools.product(*axes):
        point = with_defaults(space, {**default, **dict(zip(varied, values, strict=True))})
        if point != default and not broken(space, point):
            # Points that differ only in what does not count are one.
            found.setdefault(tuple(point[name] for name in varied), point)
    return list(found.values())
