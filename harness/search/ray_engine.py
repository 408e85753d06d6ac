"""Ray Tune as an engine: its searcher and its scheduler decide in a driver of their own (``harness.ray.driver``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import ClassVar

from harness.core.errors import RequestError
from harness.core.extras import install
from harness.search.engine import Asked, Engine
from harness.search.optuna_engine import OptunaEngine
from harness.space.conditions import constrained
from harness.space.parameters import Space, Value
from harness.spec.search import SearchSpec


class RayEngine(Engine):
    """Slots are handed out by Ray Tune, as results come in; what each was conditioned on is recorded, not decided."""

    driven: ClassVar[bool] = True

    def __init__(self, space: Space, search: SearchSpec, study: str, prior: Sequence[Asked] = ()) -> None:
        super().__init__(space, search, study, prior)
        found = importlib.util.find_spec("ray")
        if found is None or found.origin is None:
            raise RequestError(f"search.engine: ray is not installed; {install('ray')}")
        if constrained(space):
            raise RequestError("search.engine: ray proposes without looking at `at_most`; use the engine optuna")

    def ask(self, slot: int, history: Sequence[Asked]) -> dict[str, Value]:
        """The configuration with which a member of a population begins: the default one, then random ones."""
        random = self.search.model_copy(update={"sampler": "random"})
        return OptunaEngine(self.space, random, self.study).ask(slot, ())
