"""Optuna's samplers, conditioned on a fixed part of the history.

Slot ``n`` is conditioned on exactly the slots up to ``n - concurrency``, as finished, and on the hyperparameters of
those between, as running. It is asked only once these are finished. What a slot asks therefore depends neither on
the number of workers nor on who was killed when; a search that was disturbed ends with the same trials as one that
was not. The first ``startup`` slots, and every slot of a sampler that does not learn, are conditioned on nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.search.draws import random_configuration
from harness.search.engine import Asked, Engine
from harness.search.mirror import Mirror, distributions
from harness.seeds import derive_seed
from harness.space import Space, Value, defaults, searched
from harness.spec_search import SearchSpec

if TYPE_CHECKING:
    import optuna


class OptunaEngine(Engine):
    """Asks Optuna for each slot.

    It keeps what it has built, so that an ask adds only what is new; the answers are those of a fresh one.
    """

    def __init__(self, space: Space, search: SearchSpec, study: str) -> None:
        super().__init__(space, search, study)
        self._fixed, self._varied = defaults(space), searched(space)
        self._mirror: Mirror | None = None
        self._sequence: optuna.Study | None = None

    def conditioning(self, slot: int) -> range:
        """All slots up to ``slot - concurrency`` where the sampler learns; else none."""
        if self.search.sampler not in _SAMPLERS or slot < max(1, self.search.startup):
            return range(0)
        return self.before(slot)

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration of a slot; see ``Engine.ask``."""
        if slot == 0:
            return dict(self._fixed)
        if self.search.sampler == "qmc":
            return {**self._fixed, **self._quasi_random(slot)}
        learned = len(self.conditioning(slot))
        seed = derive_seed("ask", self.study, slot) % 2**32
        space = distributions(self._varied)
        if not learned:
            return {**self._fixed, **random_configuration(self._varied, self.study, slot)}
        before = sorted((entry for entry in history if entry.slot < slot), key=lambda entry: entry.slot)
        if self._mirror is None or not self._mirror.precedes(before, learned):
            self._mirror = Mirror(space)
        self._mirror.follow(before, learned)
        return {**self._fixed, **self._mirror.ask(_SAMPLERS[self.search.sampler](space, seed))}

    def _quasi_random(self, slot: int) -> dict[str, Value]:
        import optuna

        space = distributions(self._varied)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # The sequence's position is kept in the study, so the slots before this one are drawn too.
            if self._sequence is None or len(self._sequence.get_trials(deepcopy=False)) > slot:
                sampler = optuna.samplers.QMCSampler(
                    seed=derive_seed("qmc", self.study) % 2**32, scramble=True, warn_independent_sampling=False
                )
                mirror = Mirror(space, sampler)
                mirror.follow([Asked(0, self._fixed, 0.0)], 1)
                self._sequence = mirror.study
            while len(self._sequence.get_trials(deepcopy=False)) <= slot:
                trial = self._sequence.ask(fixed_distributions=space)
        return dict(trial.params)


def _tree_parzen(space: dict[str, optuna.distributions.BaseDistribution], seed: int) -> optuna.samplers.BaseSampler:
    """A sampler that models all hyperparameters together and takes running slots for bad ones."""
    import optuna

    relative = {name: space[name] for name in sorted(space) if not space[name].single()}

    class TreeParzen(optuna.samplers.TPESampler):
        # Optuna would compare the spaces of all trials to find what they share, at a cost above that of sampling;
        # the trials of a study share their whole space.
        def infer_relative_search_space(
            self, study: optuna.Study, trial: optuna.trial.FrozenTrial
        ) -> dict[str, optuna.distributions.BaseDistribution]:
            return relative

    return TreeParzen(seed=seed, n_startup_trials=1, constant_liar=True)


def _gaussian_process(
    space: dict[str, optuna.distributions.BaseDistribution], seed: int
) -> optuna.samplers.BaseSampler:
    """A sampler that fits a Gaussian process to the scores of finished slots; it learns nothing from pruned ones."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)


_SAMPLERS: dict[str, Callable[[dict[str, optuna.distributions.BaseDistribution], int], optuna.samplers.BaseSampler]] = {
    "tpe": _tree_parzen,
    "gp": _gaussian_process,
}
"""Those that learn."""
