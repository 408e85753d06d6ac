"""A real method beside its own twin: searched, confirmed and analysed as the report does, by what replicates draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from benchmarks.calibration.designs.analyses import ADDED, CORRECTED, TWO_WAY, analyses
from benchmarks.calibration.designs.layouts import DESIGNS
from benchmarks.calibration.designs.sweeps import POOL, TWINS, Sweep
from benchmarks.calibration.model import ALPHA, Row, Setting, wilson

TRIALS = (6, 12, 30)
"""Slots of a search."""
SWEEPS_SHARE = 5
"""A sweep trains some hundred networks, so there is one in so many repetitions."""
ONLY_SEEDS, RESAMPLED = "seed", "seed, split and resampled search"
DESIGN_OF = {
    ONLY_SEEDS: ("A", "one", TWO_WAY),
    RESAMPLED: ("E", "random", CORRECTED),
    "seed, split and a search on each": ("F", "random", ADDED),
}
"""What replicates draw anew, and the design and analysis that the harness then has: letter, splits, analysis."""


def twins(repetitions: int, base_seed: int, seeds: int, sizes: Sequence[int] = TRIALS) -> Row:
    """How often a method is called different from itself after searches of these sizes."""
    designs = {
        name: next(design for design in DESIGNS if (design.letter, design.splits) == key[:2])
        for name, key in DESIGN_OF.items()
    }
    found: dict[str, dict[int, list[float]]] = {name: {trials: [] for trials in sizes} for name in designs}
    for repetition in range(repetitions):
        key = (base_seed, *b"twins", repetition)
        sweep = Sweep(TWINS, sizes, [seeds], key, list(designs.values()), POOL)
        for name, design in designs.items():
            analysis = analyses(design, seeds)[DESIGN_OF[name][2]]
            for trials in sizes:
                found[name][trials].append(analysis(sweep.table(design, trials, seeds)))
    return {
        "part": "twins",
        "seeds": seeds,
        "repetitions": repetitions,
        "drawn_anew": [
            {"what": name, "trials": trials, **_claimed(p_values)}
            for name, own in found.items()
            for trials, p_values in own.items()
        ],
    }


def _claimed(p_values: list[float]) -> Row:
    rate = float(np.mean(np.array(p_values) <= ALPHA))
    low, high = wilson(rate, len(p_values))
    return {"false_claims": rate, "low": low, "high": high, "median_p": float(np.median(p_values))}


def line(row: Row) -> str:
    """A row in words."""
    rates = {
        name: [f"{own['false_claims']:.3f} after {own['trials']}" for own in row["drawn_anew"] if own["what"] == name]
        for name in DESIGN_OF
    }
    said = "; ".join(f"{name}: {', '.join(own)}" for name, own in rates.items())
    return f"twins, {row['seeds']} replicates: called different, by trials of a search: {said}"


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """The only one."""
    sweeps = max(2, repetitions // SWEEPS_SHARE)
    yield Setting("twins", partial(twins, sweeps, base_seed), sweeps, fewest=5)
