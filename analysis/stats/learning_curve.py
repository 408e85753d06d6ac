"""Scores by the number of training images: the area under the curve, and how many images a method saves.

A curve joins the scores at the sizes that were trained by straight lines over the logarithm of the size, as learning
curves are commonly drawn and compared (Viering and Loog, IEEE TPAMI 45, 2023). Both quantities are then weighted sums
of the scores at these sizes, and have the interval of such a sum, whatever the replicates draw anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.stats.estimate import Estimate, FloatArray, finite

STEPS = 16
"""Places between two neighbouring sizes at which the difference is first looked at."""
PRECISE = 1e-4
"""How precisely the logarithm of a size is found."""


@dataclass(frozen=True, slots=True)
class ImagesNeeded:
    """How many training images the control needs to reach a score of a method.

    A bound that is None is open: the data do not exclude that fewer than the smallest size are enough (``low``), or
    that the largest is not (``high``).
    """

    size: float
    """Training images of the method."""
    estimate: float | None
    """None where the control does not reach the score at its largest size, or has it at its smallest already."""
    low: float | None
    high: float | None
    reached: bool
    """Whether the control reaches the score at its largest size, by the estimate."""

    @property
    def saved(self) -> float | None:
        """Images that the method saves; negative where the control needs fewer."""
        return None if self.estimate is None else self.estimate - self.size


def area_weights(sizes: Sequence[float]) -> FloatArray:
    """Weights whose sum with the scores is the area under the curve over log size, divided by its width.

    The area is that of the trapezoids; so divided it is a mean score, in units of the metric.

    Args:
        sizes: ascending, at least two, above 0.

    Returns:
        Shape (sizes,); they sum to 1.

    Raises:
        ValueError: sizes that are not so.
    """
    places = _logs(sizes)
    widths = np.diff(places)
    weights = np.zeros(len(places))
    weights[:-1] += widths / 2
    weights[1:] += widths / 2
    result: FloatArray = weights / widths.sum()
    return result


def between_weights(sizes: Sequence[float], size: float) -> FloatArray:
    """Weights whose sum with the scores is the score at a size between the smallest and the largest.

    Raises:
        ValueError: sizes that do not ascend, or a size beyond them.
    """
    return _at(_logs(sizes), math.log(size))


def images_needed(
    sizes: Sequence[float],
    means: Sequence[float],
    score: float,
    size: float,
    difference: Callable[[FloatArray], Estimate],
    higher_is_better: bool = True,
) -> ImagesNeeded:
    """How many training images the control needs to reach a score.

    The estimate is read from the control's curve after it was made monotone (isotonic regression: Ayer, Brunk, Ewing,
    Reid and Silverman, Annals of Mathematical Statistics 26, 1955). The interval inverts the comparison itself, as
    Fieller did for a ratio (JRSS B 16, 1954): it reaches from the smallest to the largest size at which the control's
    score is not shown to differ. So it has the coverage of the differences, and is open where the largest size is not
    shown to be enough, or the smallest not to be too few.

    Args:
        sizes: of the control's trainings, ascending, at least two.
        means: the control's score at each.
        score: of the method.
        size: training images of the method.
        difference: from weights of the control's scores, which sum to 1, to the estimate of their sum minus the score
            of the method.
        higher_is_better: whether a larger score is a better one.

    Raises:
        ValueError: sizes that do not ascend, or not a mean for each.
    """
    places, sign = _logs(sizes), 1.0 if higher_is_better else -1.0
    curve = monotone(sign * finite(means, 1))
    if len(curve) != len(places):
        raise ValueError(f"needs a score for each of {len(places)} sizes, got {len(curve)}")
    reached = bool(curve[-1] >= sign * score)
    estimate = _crossing(places, curve, sign * score) if reached and curve[0] < sign * score else None

    def side(place: float) -> int:
        """-1 where the control is shown to be worse at that size, 1 where better, 0 where neither."""
        one = difference(_at(places, place))
        low, high = (one.estimate, one.estimate) if one.low is None or one.high is None else (one.low, one.high)
        low, high = (low, high) if higher_is_better else (-high, -low)
        return -1 if high < 0 else 1 if low > 0 else 0

    grid = np.unique(np.concatenate([np.linspace(a, b, STEPS + 1) for a, b in pairwise(places)])).tolist()
    sides = [side(place) for place in grid]
    # Ascending sides have one zone without a difference; where they are not, the hull of all such zones is taken.
    shown_worse = [at for at, own in enumerate(sides) if own < 0 and max(sides[: at + 1]) < 0]
    shown_better = [at for at, own in enumerate(sides) if own > 0 and min(sides[at:]) > 0]
    low = _edge(grid, shown_worse[-1], 1, lambda place: side(place) < 0) if shown_worse else None
    high = _edge(grid, shown_better[0], -1, lambda place: side(place) > 0) if shown_better else None
    return ImagesNeeded(
        size=float(size),
        estimate=None if estimate is None else math.exp(estimate),
        low=None if low is None else math.exp(low),
        high=None if high is None else math.exp(high),
        reached=reached,
    )


def monotone(values: FloatArray) -> FloatArray:
    """The ascending numbers that are nearest by least squares: the pool-adjacent-violators algorithm."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            earlier, more = blocks.pop()
            mean, count = (earlier * more + mean * count) / (more + count), more + count
        blocks.append((mean, count))
    return np.array([mean for mean, count in blocks for _ in range(count)])


def _logs(sizes: Sequence[float]) -> FloatArray:
    places = finite(sizes, 1)
    if len(places) < 2 or places[0] <= 0 or not (np.diff(places) > 0).all():
        raise ValueError(f"needs two or more sizes above 0 in ascending order, got {list(sizes)}")
    result: FloatArray = np.log(places)
    return result


def _at(places: FloatArray, place: float) -> FloatArray:
    if not places[0] - 1e-9 <= place <= places[-1] + 1e-9:
        raise ValueError("a size lies beyond those that were trained")
    right = min(max(int(np.searchsorted(places, place)), 1), len(places) - 1)
    share = min(1.0, max(0.0, (place - places[right - 1]) / (places[right] - places[right - 1])))
    weights = np.zeros(len(places))
    weights[right - 1], weights[right] = 1 - share, share
    return weights


def _crossing(places: FloatArray, curve: FloatArray, score: float) -> float:
    """The first place where an ascending curve that begins below a score reaches it."""
    right = int(np.searchsorted(curve, score))
    step = curve[right] - curve[right - 1]
    return float(places[right - 1] + (score - curve[right - 1]) / step * (places[right] - places[right - 1]))


def _edge(grid: Sequence[float], at: int, step: int, shown: Callable[[float], bool]) -> float:
    """Where it ceases to be shown, from a place of the grid at which it is towards the next, which may be none."""
    if not 0 <= at + step < len(grid):
        return grid[at]
    inside, outside = grid[at], grid[at + step]
    while abs(outside - inside) > PRECISE:
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if shown(middle) else (inside, middle)
    return outside
