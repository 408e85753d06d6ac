"""Optuna's Gaussian process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.core.errors import RequestError
from harness.search.learning import LearningSampler
from harness.search.sampler import Asked
from harness.space.parameters import Space, searched, wanted
from harness.spec.search import SearchSpec

if TYPE_CHECKING:
    import optuna


class GaussianProcessSampler(LearningSampler):
    """Fits a Gaussian process to the scores of finished slots; it learns nothing from pruned ones."""

    name = "gp"

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        super().__init__(space, search, study, prior)
        at_times = [name for name, parameter in searched(space).items() if wanted(parameter)]
        if at_times:
            raise RequestError(
                f"search.sampler: gp cannot model {at_times[0]!r}, which counts only at times; use tpe or random"
            )

    def samplers(self) -> Callable[[int], optuna.samplers.BaseSampler]:
        """Optuna's sampler by the seed of an ask."""
        import optuna

        def seeded(seed: int) -> optuna.samplers.BaseSampler:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)

        return seeded
