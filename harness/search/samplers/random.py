"""Independent random values."""

from __future__ import annotations

from collections.abc import Sequence

from harness.search.draws import random_configuration
from harness.search.sampler import Asked, Sampler
from harness.space.parameters import Value


class RandomSampler(Sampler):
    """A random value for each hyperparameter, from a stream of its own; conditioned on nothing."""

    name = "random"

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The values of a slot; see ``Sampler.ask``."""
        return random_configuration(self.space, self.study, slot)
