"""The posterior probabilities beside a claim: of all that are said to be wrong with 10 %, are 10 % wrong?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from analysis.stats.decisions import probability_of_other_sign, probability_within
from analysis.stats.estimate import FloatArray
from analysis.stats.twoway import two_way
from benchmarks.calibration.model import Row, Setting, streams

FURTHEST, MARGIN, CASES = 0.4, 0.05, 60
"""Truths are drawn evenly up to here, far beyond what is uncertain; the margin; test cases."""
SPREADS = ((0.1, 0.4, 0.4), (0.02, 0.3, 0.2), (0.2, 0.1, 0.2))
"""Standard deviations between seeds, between cases and of what remains; sweeps take turns."""
BINS = (0.0, 0.01, 0.05, 0.15, 0.3, 0.5, 0.75, 1.0)
"""Ends of the bins of what is stated."""
MOST_OFF = 0.05
"""Share by which what comes true may differ from what is stated, besides the error of a count."""
FEWEST_OF_BIN = 50
"""Outcomes of a bin that is judged; the count of a smaller one is far from normal."""


def posterior(repetitions: int, base_seed: int, seeds: int) -> Row:
    """What is stated and what is true, over sweeps whose truth is drawn from a wide prior distribution."""
    stated: dict[str, list[float]] = {"wrong sign": [], "within the margin": []}
    true: dict[str, list[bool]] = {name: [] for name in stated}
    for repetition, rng in enumerate(streams(base_seed, "posterior", seeds, repetitions)):
        of_seed, of_case, rest = SPREADS[repetition % len(SPREADS)]
        truth = float(rng.uniform(-FURTHEST, FURTHEST))
        noise = of_seed * rng.normal(size=(seeds, 1)) + of_case * rng.normal(size=(1, CASES))
        estimate = two_way(truth + noise + rest * rng.normal(size=(seeds, CASES)))
        outcomes = {
            "wrong sign": (probability_of_other_sign(estimate), (truth > 0) != (estimate.estimate > 0)),
            "within the margin": (probability_within(estimate, MARGIN), abs(truth) < MARGIN),
        }
        for name, (probability, came_true) in outcomes.items():
            if probability is not None:
                stated[name].append(probability)
                true[name].append(came_true)
    tables = {name: _binned(np.array(stated[name]), np.array(true[name], np.float64)) for name in stated}
    return {
        "part": "posterior",
        "seeds": seeds,
        "repetitions": repetitions,
        "bins": [{"of": name, **own} for name, rows in tables.items() for own in rows],
    }


def _binned(stated: FloatArray, true: FloatArray) -> Sequence[Row]:
    """All together, then by what is stated."""
    place = np.clip(np.digitize(stated, BINS) - 1, 0, len(BINS) - 2)
    groups = [("all", np.ones(len(stated), bool))]
    groups += [(f"{BINS[at]:g} to {BINS[at + 1]:g}", place == at) for at in np.unique(place)]
    return [
        {
            "stated": name,
            "count": int(own.sum()),
            "mean_stated": float(stated[own].mean()),
            "came_true": float(true[own].mean()),
            # Of a count whose chances are as stated.
            "error": float(math.sqrt(float((stated[own] * (1 - stated[own])).sum())) / own.sum()),
        }
        for name, own in groups
    ]


def line(row: Row) -> str:
    """A row in words."""
    whole = "; ".join(
        f"{own['of']}: stated {own['mean_stated']:.3f}, came true {own['came_true']:.3f}"
        for own in row["bins"]
        if own["stated"] == "all"
    )
    furthest = max(row["bins"], key=lambda own: abs(own["mean_stated"] - own["came_true"]) - 2 * own["error"])
    return (
        f"posterior probabilities, {row['seeds']} seeds: {whole}; furthest off in a bin: {furthest['of']}, "
        f"{furthest['mean_stated']:.3f} stated, {furthest['came_true']:.3f} of {furthest['count']}"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """The only one."""
    yield Setting("posterior", partial(posterior, repetitions, base_seed), repetitions, fewest=3)
