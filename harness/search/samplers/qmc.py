"""Optuna's quasi-random sequence."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.seeds import derive_seed
from harness.search.draws import random_configuration
from harness.search.learning import ATTEMPTS
from harness.search.mirror import distributions, new_study
from harness.search.sampler import Asked, Sampler
from harness.space.conditions import broken, with_defaults
from harness.space.parameters import Space, Value, defaults, searched
from harness.spec.search import SearchSpec

if TYPE_CHECKING:
    import optuna


class QuasiRandomSampler(Sampler):
    """A scrambled Sobol' sequence, which covers a space more evenly than random values; conditioned on nothing."""

    name = "qmc"

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        super().__init__(space, search, study, prior)
        self._sequence: optuna.Study | None = None
        self._points: list[dict[str, Value]] = []
        """Of the sequence, from slot 1 on."""

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The slot's point of the sequence; points that are not allowed are left out of it. See ``Sampler.ask``."""
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.QMCSampler(
                seed=derive_seed("qmc", self.study) % 2**32, scramble=True, warn_independent_sampling=False
            )
            if self._sequence is None:
                # The sequence's position is kept in the study, so the slots before this one are drawn too.
                self._sequence = new_study(sampler)
                varied = searched(self.space)
                first = {name: parameter.default for name, parameter in varied.items()}
                self._sequence.add_trial(
                    optuna.trial.create_trial(params=first, distributions=distributions(varied), value=0.0)
                )
            while len(self._points) < slot:
                self._points.append(self._next_point(self._sequence))
        return dict(self._points[slot - 1])

    def _next_point(self, sequence: optuna.Study) -> dict[str, Value]:
        space = distributions(searched(self.space))
        for _ in range(ATTEMPTS):
            drawn = sequence.ask(fixed_distributions=space).params
            point = with_defaults(self.space, {**defaults(self.space), **drawn})
            if not broken(self.space, point):
                return point
        return random_configuration(self.space, self.study, len(self._points) + 1)
