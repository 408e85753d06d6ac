"""Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.search.learning import LearningSampler
from harness.search.mirror import distributions
from harness.space.parameters import Space, searched, wanted

if TYPE_CHECKING:
    import optuna


class TreeParzenSampler(LearningSampler):
    """Proposes where good slots are denser than others (Bergstra et al. 2011, "Algorithms for hyper-parameter
    optimization").

    It models all hyperparameters together and takes running slots for bad ones. Those that count only at times are
    modelled one by one, from the slots in which they counted.
    """

    name = "tpe"

    def samplers(self) -> Callable[[int], optuna.samplers.BaseSampler]:
        """Optuna's sampler by the seed of an ask."""
        return _tree_parzen(self.space)


def _tree_parzen(space: Space) -> Callable[[int], optuna.samplers.BaseSampler]:
    import optuna

    always = {name: parameter for name, parameter in searched(space).items() if not wanted(parameter)}
    relative = {name: one for name, one in sorted(distributions(always).items()) if not one.single()}

    class TreeParzen(optuna.samplers.TPESampler):
        # Optuna would compare the spaces of all trials to find what they share, at a cost above that of sampling;
        # the trials of a study share all that always counts.
        def infer_relative_search_space(
            self, study: optuna.Study, trial: optuna.trial.FrozenTrial
        ) -> dict[str, optuna.distributions.BaseDistribution]:
            return relative

        def seeded(self, seed: int) -> TreeParzen:
            """This sampler, with its random streams as those of a new one, which would take a tenth of an ask."""
            for stream in (self._rng, self._random_sampler._rng):
                stream.rng.seed(seed)
            return self

    return TreeParzen(n_startup_trials=1, constant_liar=True).seeded
