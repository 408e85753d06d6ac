"""Intervals that stay within what a metric can be."""

from __future__ import annotations

import math
from dataclasses import replace

from analysis.stats.cautions import cut_at_range
from analysis.stats.estimate import Made

Bounds = tuple[float, float]
"""The least and the largest value of a metric; either may be infinite."""


def within_range(score: Made, bounds: Bounds) -> Made:
    """The interval of a score, found on the scale of its logit and turned back.

    With the lower bound a and the upper bound b the scale is ``log((x - a) / (b - x))``, with one of them
    ``log(x - a)`` or ``-log(b - x)``, on which the half width is multiplied by the derivative (delta method). Near a
    bound it covers where an interval ``x ± h`` does not: with accuracies around 0.96 and five seeds of 40 cases 98 in
    100 instead of 87 (``benchmarks/calibration``).

    Args:
        score: of one method; one that lies on a bound keeps the part of ``x ± h`` that is within.
        bounds: of the metric.
    """
    low, high = bounds
    half = score.half_width(score.confidence)
    if half is None or (math.isinf(low) and math.isinf(high)):
        return score
    below, above = score.estimate - low, high - score.estimate
    if min(below, above) <= 1e-12 * max(1.0, half):
        return replace(score, low=max(low, score.estimate - half), high=min(high, score.estimate + half))
    if math.isinf(high):
        factor = _exp(half / below)
        return replace(score, low=low + below / factor, high=low + below * factor)
    if math.isinf(low):
        factor = _exp(half / above)
        return replace(score, low=high - above * factor, high=high - above / factor)
    # On the logit's scale by which the odds below : above are multiplied and divided.
    factor = _exp(half * (high - low) / (below * above))
    return replace(
        score,
        low=low + (high - low) * below / (below + above * factor),
        high=high - (high - low) * above / (above + below * factor),
    )


def difference_within_range(difference: Made, bounds: Bounds) -> Made:
    """The interval of a difference of two scores, cut at the largest difference that there can be, and said so."""
    width = bounds[1] - bounds[0]
    if difference.low is None or difference.high is None or not math.isfinite(width):
        return difference
    low, high = max(-width, difference.low), min(width, difference.high)
    if (low, high) == (difference.low, difference.high):
        return difference
    return replace(difference, low=low, high=high, cautions=(*difference.cautions, cut_at_range()))


def _exp(power: float) -> float:
    """As ``math.exp``, which fails above 709."""
    return math.exp(min(power, 700.0))
