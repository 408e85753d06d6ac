"""Optuna's samplers that learn, conditioned on a fixed part of the history.

Slot ``n`` is conditioned on exactly the slots up to ``n - concurrency``, as finished, and on the hyperparameters of
those between, as running. It is asked only once these are finished. What a slot asks therefore depends neither on
the number of workers nor on who was killed when; a search that was disturbed ends with the same trials as one that
was not. The first ``startup`` slots are conditioned on nothing.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.core.seeds import derive_seed
from harness.search.draws import random_configuration
from harness.search.mirror import Mirror
from harness.search.sampler import Asked, Sampler
from harness.space.conditions import broken
from harness.space.parameters import Space, Value
from harness.spec.search import SearchSpec

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 50
"""So often a sampler may propose what ``at_most`` does not allow, before the configuration is drawn at random."""


class LearningSampler(Sampler):
    """Asks one of Optuna's samplers for each slot.

    It keeps what it has built, so that an ask adds only what is new; the answers are those of a fresh one.
    """

    learns = True

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        super().__init__(space, search, study, prior)
        self._mirror: Mirror | None = None

    @abstractmethod
    def samplers(self) -> Callable[[int], optuna.samplers.BaseSampler]:
        """What gives Optuna's sampler for the seed of an ask."""

    @functools.cached_property
    def _sampler(self) -> Callable[[int], optuna.samplers.BaseSampler]:
        return self.samplers()

    def conditioning(self, slot: int) -> range:
        """All slots up to ``slot - concurrency``; none for the first ``startup`` slots."""
        return self.before(slot) if self._learns(slot) else range(0)

    def _learns(self, slot: int) -> bool:
        return slot > 0 and slot + len(self.prior) >= self.search.startup

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration of a slot; see ``Sampler.ask``."""
        learned = len(self.conditioning(slot))
        if not learned and not (self.prior and self._learns(slot)):
            return random_configuration(self.space, self.study, slot)
        for attempt in range(ATTEMPTS):
            # What has proposed something that is not allowed holds it as a slot, and does not precede the history.
            if self._mirror is None or not self._mirror.precedes(history, learned):
                self._mirror = Mirror(self.space, prior=self.prior)
            self._mirror.follow(history, learned)
            seed = derive_seed("ask", self.study, slot, *([attempt] if attempt else [])) % 2**32
            asked = self._mirror.ask(self._sampler(seed))
            if not broken(self.space, asked):
                return asked
        return random_configuration(self.space, self.study, slot)
