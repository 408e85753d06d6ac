"""The hyperparameter search: engines that give each slot of a study its configuration.

Each ask is a function of recorded history, so every ask can be replayed (``harness.proof.replay``).
"""

from __future__ import annotations

from harness.search.choice import Chosen, best_slots, choose, compared
from harness.search.engine import Asked, Engine, engine_class, make_engine

__all__ = ["Asked", "Chosen", "Engine", "best_slots", "choose", "compared", "engine_class", "make_engine"]
