"""The worst subgroup of the test cases and the gap between best and worst, which are selected from noisy scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.special import ndtr

from analysis.stats.estimate import FloatArray
from analysis.stats.subgroups import extremes, worst_difference
from analysis.stats.twoway import two_way
from benchmarks.calibration.model import ALPHA, CHANCE_SD, OWN_SD, SHARED_SD, Row, Setting, covers, streams

LEVEL, SEED_SD, SEED_IN_GROUP_SD = 1.3, 0.15, 0.1
"""How far the average case lies on the right side; what trainings do to all subgroups, and to one of them."""
EQUAL, ONE_WORSE, NEARLY, LADDER = "equal", "one much worse", "one a little worse", "each a step worse"
SHAPES = {EQUAL: 0.0, ONE_WORSE: 1.2, NEARLY: 0.25, LADDER: 0.2}
"""How far the levels of subgroups lie apart, by the shape of their levels."""
SIZES = {2: (250, 150), 4: (200, 120, 80, 60), 8: (150, 120, 100, 80, 60, 50, 40, 40)}
"""Number of subgroups → cases of each."""


def levels(shape: str, groups: int) -> FloatArray:
    """Of each subgroup; the smallest is the worst."""
    fall = SHAPES[shape]
    steps = np.arange(groups, dtype=np.float64) if shape == LADDER else np.eye(groups)[-1]
    result: FloatArray = LEVEL - fall * steps
    return result


def of_subgroups(shape: str, groups: int, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage of both extremes, of the difference of two equally good methods in their worst subgroups, and naively.

    ``worst, naive`` is the interval of the subgroup that was observed to be the worst, as if it had been named before.
    """
    spread = math.sqrt(SHARED_SD**2 + OWN_SD**2 + CHANCE_SD**2 + SEED_SD**2 + SEED_IN_GROUP_SD**2)
    own = levels(shape, groups)
    truth = ndtr(own / spread)
    lowest, gap = float(truth.min()), float(truth.max() - truth.min())
    covered: dict[str, list[bool]] = {name: [] for name in ("worst", "gap", "difference of the worst", "worst, naive")}
    widths: dict[str, list[float]] = {name: [] for name in ("worst", "gap")}
    claimed = []
    for rng in streams(base_seed, f"subgroups {shape} {groups}", seeds, repetitions):
        methods: list[list[FloatArray]] = [[], []]
        trained = SEED_SD * rng.standard_normal((2, seeds, 1))
        for level, cases in zip(own, SIZES[groups], strict=True):
            case = SHARED_SD * rng.standard_normal(cases) + OWN_SD * rng.standard_normal((2, 1, cases))
            moved = trained + SEED_IN_GROUP_SD * rng.standard_normal(trained.shape)
            margin = level + case + moved + CHANCE_SD * rng.standard_normal((2, seeds, cases))
            for method, table in zip(methods, (margin > 0).astype(np.float64), strict=True):
                method.append(table)
        found = extremes(methods[0], bounds=(0.0, 1.0))
        covered["worst"].append(covers(found.lowest, lowest))
        covered["gap"].append(covers(found.gap, gap))
        covered["difference of the worst"].append(covers(worst_difference(*methods)))
        covered["worst, naive"].append(covers(two_way(methods[0][found.worst]), lowest))
        claimed.append((found.gap.low or 0.0) > 0)
        for name, one in (("worst", found.lowest), ("gap", found.gap)):
            widths[name].append((one.high or 0.0) - (one.low or 0.0))
    return {
        "part": "subgroups",
        "shape": shape,
        "groups": groups,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": {what: float(np.mean(found)) for what, found in covered.items()},
        "coverage_error": math.sqrt(ALPHA * (1 - ALPHA) / repetitions),
        "width": {what: float(np.mean(found)) for what, found in widths.items()},
        "gap_claimed": float(np.mean(claimed)),
    }


def line(row: Row) -> str:
    """A row in words."""
    shares = ", ".join(f"{what} {share:.3f}" for what, share in row["coverage"].items())
    return (
        f"{row['groups']} subgroups, {row['shape']}, {row['seeds']} seeds: coverage {shares}; a gap is claimed in "
        f"{row['gap_claimed']:.3f}; widths {row['width']['worst']:.3f} and {row['width']['gap']:.3f}"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One for each number of subgroups and shape."""
    own = max(2, repetitions // 4)
    for groups in SIZES:
        for shape in SHAPES:
            if shape == LADDER and groups == 2:
                continue
            count = partial(of_subgroups, shape, groups, own, base_seed)
            yield Setting(f"subgroups, {groups}, {shape}", count, own, fewest=3)
