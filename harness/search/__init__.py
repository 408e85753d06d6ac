"""The hyperparameter search: samplers that give each slot of a study its configuration.

Each ask is a function of recorded history, so every ask can be replayed (``harness.proof.replay``).
"""

from __future__ import annotations

from harness.search.choice import Chosen, best_slots, choose, compared
from harness.search.sampler import Asked, Engine, Sampler, find_sampler, is_driven, make_sampler

__all__ = [
    "Asked",
    "Chosen",
    "Engine",
    "Sampler",
    "best_slots",
    "choose",
    "compared",
    "find_sampler",
    "is_driven",
    "make_sampler",
]
