"""The range of numbers that a hyperparameter may have, as mathematics writes it: ``(0, 1]`` is above 0, at most 1.

A search space says where values are proposed; this says what the method can train with at all, so that a slip of the
fingers (``-1e-3``, ``1e30``) is refused before anything runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

SHARED = {
    "lr": "[1e-10, 10]",
    "head_lr": "[1e-10, 10]",
    "head_lr_ratio": "[1e-3, 1e3]",
    "weight_decay": "[0, 10]",
    "momentum": "[0, 1)",
}
"""Of the hyperparameters that have one meaning in every method; a method may say otherwise for its own."""

ANY = "[-1e9, 1e9]"
"""Of a number of which nothing is said."""

_NOTATION = re.compile(r"([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])")


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers between two ends."""

    low: float
    high: float
    with_low: bool
    with_high: bool

    def __contains__(self, value: float) -> bool:
        return (self.low <= value if self.with_low else self.low < value) and (
            value <= self.high if self.with_high else value < self.high
        )

    def in_words(self) -> str:
        """``above 0 and at most 1``."""
        least = f"{'at least' if self.with_low else 'above'} {self.low:g}"
        return f"{least} and {'at most' if self.with_high else 'below'} {self.high:g}"


@lru_cache
def interval(notation: str) -> Interval:
    """``[0, 1)`` as an interval.

    Raises:
        ValueError: it is not written so, or its ends are out of order.
    """
    match = _NOTATION.fullmatch(notation.strip())
    if match is None:
        raise ValueError(
            f"{notation!r} is no interval; write [low, high], with a round bracket where an end is outside"
        )
    low, high = float(match[2]), float(match[3])
    if not low < high:
        raise ValueError(f"the ends of {notation} are out of order")
    return Interval(low, high, match[1] == "[", match[4] == "]")


def interval_of(name: str, within: str | None) -> Interval:
    """The numbers that a hyperparameter may have: what its method says, else what its name does."""
    return interval(within or SHARED.get(name, ANY))
