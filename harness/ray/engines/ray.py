"""Ray Tune as an engine: its searcher and its scheduler decide in a driver of their own (``harness.ray.driver``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from harness.core.errors import RequestError
from harness.core.extras import install
from harness.launcher import Launcher
from harness.search.draws import random_configuration
from harness.search.sampler import Asked, Engine
from harness.space.conditions import constrained
from harness.space.parameters import Space, Value
from harness.spec.search import SearchSpec
from harness.spec.sections import LaunchSpec

SAMPLERS = {"tpe": True, "random": False}
"""What Ray's ``OptunaSearch`` is used with, and whether that learns."""


class RayEngine(Engine):
    """Slots are handed out by Ray Tune, as results come in; what each was conditioned on is recorded, not decided."""

    name = "ray"
    learns = True
    pruners = ("none", "asha", "hyperband", "pbt")
    launch = "take local; inside of a Slurm allocation that uses all of its nodes (docs/ray.md)"

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        super().__init__(space, search, study, prior)
        found = importlib.util.find_spec("ray")
        if found is None or found.origin is None:
            raise RequestError(f"search.engine: ray is not installed; {install('ray')}")
        if constrained(space):
            raise RequestError("search.engine: ray proposes without looking at `at_most`; use the engine optuna")

    @classmethod
    def launcher(cls, settings: LaunchSpec) -> Launcher:
        """Pools of workers with a Ray cluster in between."""
        from harness.ray.launcher import RayLauncher

        return RayLauncher(settings)

    @classmethod
    def check(cls, search: SearchSpec) -> None:
        """Which samplers and pruners it has, and with what; see ``Sampler.check``."""
        super().check(search)
        if search.sampler not in SAMPLERS:
            known = ", ".join(SAMPLERS)
            raise RequestError(f"search.sampler: the engine ray has no {search.sampler}; known: {known}")
        if search.warm_start is not None and (search.pruner == "pbt" or not SAMPLERS[search.sampler]):
            what = "population-based training" if search.pruner == "pbt" else f"the sampler {search.sampler}"
            raise RequestError(f"search.warm_start: {what} learns nothing from earlier trials; take tpe")
        if search.pruner == "pbt" and len(search.seeds) > 1:
            raise RequestError("search.seeds: population-based training tunes on one seed; give one")

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration with which a member of a population begins: a random one."""
        return random_configuration(self.space, self.study, slot)
