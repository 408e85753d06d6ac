"""Learning curves: the area under them, and how many training images a method saves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.special import ndtr

from analysis.stats.estimate import Estimate, FloatArray
from analysis.stats.learning_curve import area_weights, between_weights, images_needed
from analysis.stats.twoway import two_way
from benchmarks.calibration.model import ALPHA, CHANCE_SD, OWN_SD, SHARED_SD, Row, Setting, covers, streams

SIZES = (70, 175, 700, 2800)
"""Training images."""
LEVELS = (0.2, 0.6, 1.1, 1.4)
"""How far the average case lies on the right side at each size, for the control."""
SEED_SD, SEED_AT_SIZE_SD = 0.1, 0.15
"""What trainings do at all sizes, and at one of them."""
CASES = 300
LEADS = {"equal": 0.0, "better": 0.2, "beyond the largest size": 0.7}
"""By how much a method leads the control at every size."""
AT = 2
"""Place of the size at which the method's images are saved; the largest where it leads beyond it."""


def of_curves(lead: str, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage of the difference of areas, and of the images that the control needs to reach the method's score."""
    spread = math.sqrt(SHARED_SD**2 + OWN_SD**2 + CHANCE_SD**2 + SEED_SD**2 + SEED_AT_SIZE_SD**2)
    control = ndtr(np.array(LEVELS) / spread)
    method = ndtr((np.array(LEVELS) + LEADS[lead]) / spread)
    weights = area_weights(SIZES)
    area, score = float(weights @ (method - control)), float(method[AT])
    needed = _needed(control, score)
    areas, saved, reached, widths = [], [], [], []
    for rng in streams(base_seed, f"sizes {lead}", seeds, repetitions):
        case = SHARED_SD * rng.standard_normal(CASES) + OWN_SD * rng.standard_normal((2, 1, 1, CASES))
        trained = SEED_SD * rng.standard_normal((2, 1, seeds, 1))
        trained = trained + SEED_AT_SIZE_SD * rng.standard_normal((2, len(SIZES), seeds, 1))
        level = np.array([np.array(LEVELS) + LEADS[lead], LEVELS])[:, :, None, None]
        margin = level + case + trained + CHANCE_SD * rng.standard_normal((2, len(SIZES), seeds, CASES))
        first, second = (margin > 0).astype(np.float64)
        areas.append(covers(two_way(np.tensordot(weights, first - second, 1)), area))

        def minus(of: FloatArray, second: FloatArray = second, first: FloatArray = first) -> Estimate:
            return two_way(np.tensordot(of, second, 1) - first[AT])

        means = second.mean(axis=(1, 2)).tolist()
        found = images_needed(SIZES, means, float(first[AT].mean()), SIZES[AT], minus)
        saved.append((found.low or 0.0) <= needed <= (math.inf if found.high is None else found.high))
        reached.append(found.high is not None)
        if found.low is not None and found.high is not None:
            widths.append(math.log(found.high / found.low))
    return {
        "part": "sizes",
        "lead": lead,
        "needed": needed if math.isfinite(needed) else None,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": {"area": float(np.mean(areas)), "images needed": float(np.mean(saved))},
        "coverage_error": math.sqrt(ALPHA * (1 - ALPHA) / repetitions),
        "closed": float(np.mean(reached)),
        "median_ratio": float(np.exp(np.median(widths))) if widths else None,
    }


def _needed(control: FloatArray, score: float) -> float:
    """The size at which the control's true curve has a score."""
    if score > control[-1]:
        return math.inf
    low, high = math.log(SIZES[0]), math.log(SIZES[-1])
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if float(between_weights(SIZES, math.exp(middle)) @ control) < score else (low, middle)
        )
    return math.exp(low)


def line(row: Row) -> str:
    """A row in words."""
    needed = "more than there are" if row["needed"] is None else f"{row['needed']:.0f}"
    ratio = "" if row["median_ratio"] is None else f", its ends a factor of {row['median_ratio']:.1f} apart"
    return (
        f"learning curves, {row['lead']}, {row['seeds']} seeds: coverage of the area {row['coverage']['area']:.3f}, "
        f"of the images needed ({needed}) {row['coverage']['images needed']:.3f}; closed above in "
        f"{row['closed']:.2f}{ratio}"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One a lead; each repetition has some hundred comparisons."""
    own = max(2, repetitions // 2)
    for lead in LEADS:
        yield Setting(f"sizes, {lead}", partial(of_curves, lead, own, base_seed), own, fewest=3)
