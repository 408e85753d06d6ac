"""Optuna's samplers, conditioned on a fixed part of the history.

Slot ``n`` is conditioned on exactly the slots up to ``n - concurrency``, as finished, and on the hyperparameters of
those between, as running. It is asked only once these are finished. What a slot asks therefore depends neither on
the number of workers nor on who was killed when; a search that was disturbed ends with the same trials as one that
was not. The first ``startup`` slots, and every slot of a sampler that does not learn, are conditioned on nothing.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.core.errors import RequestError
from harness.core.seeds import derive_seed
from harness.search.draws import random_configuration
from harness.search.engine import Asked, Engine
from harness.search.mirror import Mirror, distributions, new_study
from harness.space.conditions import broken, with_defaults
from harness.space.parameters import Space, Value, defaults, searched, wanted
from harness.spec.search import SearchSpec

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 50
"""So often a sampler may propose what ``at_most`` does not allow, before the configuration is drawn at random."""


class OptunaEngine(Engine):
    """Asks Optuna for each slot.

    It keeps what it has built, so that an ask adds only what is new; the answers are those of a fresh one.
    """

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        super().__init__(space, search, study, prior)
        at_times = [name for name, parameter in searched(space).items() if wanted(parameter)]
        if search.sampler == "gp" and at_times:
            raise RequestError(
                f"search.sampler: gp cannot model {at_times[0]!r}, which counts only at times; use tpe or random"
            )
        self._mirror: Mirror | None = None
        self._sequence: optuna.Study | None = None
        self._points: list[dict[str, Value]] = []
        """Of the quasi-random sequence, from slot 1 on."""

    @functools.cached_property
    def _sampler(self) -> Callable[[int], optuna.samplers.BaseSampler]:
        return _SAMPLERS[self.search.sampler](self.space)

    def conditioning(self, slot: int) -> range:
        """All slots up to ``slot - concurrency`` where the sampler learns; else none."""
        return self.before(slot) if self._learns(slot) else range(0)

    def _learns(self, slot: int) -> bool:
        return self.search.sampler in _SAMPLERS and slot > 0 and slot + len(self.prior) >= self.search.startup

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration of a slot; see ``Engine.ask``."""
        if slot == 0:
            return defaults(self.space)
        if self.search.sampler == "qmc":
            return self._quasi_random(slot)
        learned = len(self.conditioning(slot))
        if not learned and not (self.prior and self._learns(slot)):
            return random_configuration(self.space, self.study, slot)
        before = sorted((entry for entry in history if entry.slot < slot), key=lambda entry: entry.slot)
        for attempt in range(ATTEMPTS):
            # What has proposed something that is not allowed holds it as a slot, and does not precede the history.
            if self._mirror is None or not self._mirror.precedes(before, learned):
                self._mirror = Mirror(self.space, prior=self.prior)
            self._mirror.follow(before, learned)
            seed = derive_seed("ask", self.study, slot, *([attempt] if attempt else [])) % 2**32
            asked = self._mirror.ask(self._sampler(seed))
            if not broken(self.space, asked):
                return asked
        return random_configuration(self.space, self.study, slot)

    def _quasi_random(self, slot: int) -> dict[str, Value]:
        """The slot's point of the sequence; points that are not allowed are left out of it."""
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


def _tree_parzen(space: Space) -> Callable[[int], optuna.samplers.BaseSampler]:
    """Samplers that model all hyperparameters together and take running slots for bad ones.

    Those that count only at times are modelled one by one, from the slots in which they counted.
    """
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


def _gaussian_process(space: Space) -> Callable[[int], optuna.samplers.BaseSampler]:
    """Samplers that fit a Gaussian process to the scores of finished slots; they learn nothing from pruned ones."""
    import optuna

    def seeded(seed: int) -> optuna.samplers.BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)

    return seeded


_SAMPLERS: dict[str, Callable[[Space], Callable[[int], optuna.samplers.BaseSampler]]] = {
    "tpe": _tree_parzen,
    "gp": _gaussian_process,
}
"""Those that learn, for a space and then for the seed of an ask."""
