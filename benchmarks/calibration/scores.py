"""Intervals of single scores up to the ceiling of the metric."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.special import ndtr

from analysis.stats.ranges import over_new_cases
from analysis.stats.twoway import two_way
from benchmarks.calibration.model import (
    CASES,
    CHANCE_SD,
    NOISY,
    OWN_SD,
    SHARED_SD,
    Row,
    Setting,
    covers,
    draw,
    streams,
)

SCORE_LEVELS = (1.2, 2.2, 2.9, 3.2)


def scores_within_range(repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage of intervals of single scores up to the ceiling, and how many leave the metric's range."""
    scenario, cases = NOISY, CASES[0]
    spread = math.sqrt(SHARED_SD**2 + OWN_SD**2 + CHANCE_SD**2 + scenario.seed_sd**2)
    found: dict[str, list[float]] = {}
    outside = plain_outside = 0
    for level in SCORE_LEVELS:
        truth = float(ndtr(level / spread))
        covered = found.setdefault(f"{truth:.3f}", [])
        for rng in streams(base_seed, f"scores {level}", seeds, repetitions):
            for values in draw(rng, scenario, seeds, cases, level).values:
                plain = two_way(values)
                score = over_new_cases(plain, (0.0, 1.0))
                if score.low is None or score.high is None:
                    continue
                covered.append(covers(score, truth))
                outside += not 0.0 <= score.low <= score.high <= 1.0
                plain_outside += plain.high is not None and plain.high > 1.0
    coverage = {name: float(np.mean(own)) for name, own in found.items()}
    count = sum(map(len, found.values()))
    return {
        "part": "scores",
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": coverage,
        "intervals": count,
        "outside": outside,
        "outside_without_the_logit": plain_outside,
    }


def line(row: Row) -> str:
    """A row in words."""
    coverage = ", ".join(f"{name} {value:.3f}" for name, value in row["coverage"].items())
    return (
        f"scores, {row['seeds']} seeds: coverage by true accuracy: {coverage}; {row['outside']} of "
        f"{row['intervals']} intervals leave the range, {row['outside_without_the_logit']} without the logit"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """The only one; each repetition has six methods at three levels."""
    own = max(2, repetitions // 10)
    yield Setting("scores", partial(scores_within_range, own, base_seed), own)
