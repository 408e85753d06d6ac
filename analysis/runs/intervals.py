"""Intervals for a mean over few seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its spread and, from two values on, its interval."""

    n: int
    mean: float
    sd: float | None
    """Sample standard deviation (divisor n - 1); None for one value."""
    low: float | None
    high: float | None
    confidence: float


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's interval ``mean ± t(n - 1) · sd / sqrt(n)`` (Student, Biometrika 6, 1908).

    Percentile and BCa bootstraps are no substitute here: below twenty values they are far too narrow.

    Args:
        values: at least one finite number, one a seed.
        confidence: coverage in (0, 1).

    Raises:
        ValueError: no value, a value that is not finite, or a confidence outside (0, 1).
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"needs at least one value, all finite, got {list(values)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    n, mean = len(values), statistics.mean(values)
    if n == 1:
        return Interval(n, mean, None, None, None, confidence)
    # scipy.stats gives the same quantile but takes half a second to import.
    from scipy.special import stdtrit

    sd = statistics.stdev(values)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return Interval(n, mean, sd, mean - half, mean + half, confidence)
