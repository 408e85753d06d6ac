"""A replicate: one confirmation of a method on a dataset, and what it draws anew."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Drawn: TypeAlias = Literal["seed", "split", "search"]
"""What a replicate may draw anew: its training, the sides of its dataset, and the search that tunes it."""


class Replicate(NamedTuple):
    """One confirmation."""

    seed: int
    """Of its training; no two replicates of a method on a dataset share it."""
    split: int | None = None
    """Which of several splits it is trained and tested on: the split's seed or the number of its fold; None where all
    replicates share one."""
