"""Is a difference the same under several conditions, such as networks?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from analysis.stats.estimate import Estimate
from analysis.stats.multiplicity import adjust


@dataclass(frozen=True, slots=True)
class Interaction:
    """How far a difference changes from condition to condition."""

    p: float | None
    """That it is the same in all of them; corrected for the pairs of conditions. None where none varies."""
    first: int
    """Places of the two conditions that differ most clearly."""
    second: int
    change: Estimate
    """The difference in the first of these minus that in the second, with its own interval, not corrected."""


def interaction(conditions: int, change: Callable[[int, int], Estimate]) -> Interaction:
    """Test of no interaction: the smallest p value of all pairs of conditions, corrected by Holm.

    Whether it holds exactly then follows from the changes' own analysis (same trainings, same cases), whatever they
    have in common. With two conditions it is the test of their one change.

    Args:
        conditions: at least two.
        change: from the places of two conditions to the difference in the first minus that in the second.

    Raises:
        ValueError: fewer than two conditions.
    """
    if conditions < 2:
        raise ValueError(f"needs at least two conditions, got {conditions}")
    pairs: Sequence[tuple[int, int]] = list(combinations(range(conditions), 2))
    found = [change(*pair) for pair in pairs]
    raw = [one.p_value() for one in found]
    known = [p for p in raw if p is not None]
    if not known:
        return Interaction(None, *pairs[0], found[0])
    clearest = raw.index(min(known))
    return Interaction(float(adjust(known, "holm", len(pairs)).min()), *pairs[clearest], found[clearest])
