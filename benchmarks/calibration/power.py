"""Power promised by a plan against power found, and equivalence at the margin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.special import ndtr

from analysis.stats.decisions import equivalence_p
from analysis.stats.power import power_two_way
from analysis.stats.twoway import Components, mean_squares, two_way
from benchmarks.calibration.model import (
    ALPHA,
    CASES,
    CHANCE_SD,
    LEVELS,
    METHODS,
    NOISY,
    OWN_SD,
    SHARED_SD,
    Row,
    Setting,
    draw,
    streams,
)


def power_found(repetitions: int, base_seed: int, seeds: int) -> Row:
    """Power promised by the true variance components against power found, and equivalence at the margin."""
    scenario, cases, level, lead = NOISY, CASES[1], LEVELS[1], 0.3
    rng = np.random.default_rng((base_seed, 7))
    pilot = draw(rng, scenario, 300, 4000, level, lead).values
    # Chance is normal, so the accuracy of a method is known without drawing it.
    spread = math.sqrt(SHARED_SD**2 + OWN_SD**2 + CHANCE_SD**2 + scenario.seed_sd**2)
    gap = float(ndtr((level + lead) / spread) - ndtr(level / spread))
    parts = [mean_squares(pilot[0] - pilot[b]).components for b in range(1, METHODS)]
    components = Components(*np.mean([(part.seed, part.case, part.interaction) for part in parts], axis=0).tolist())
    levels = {"alone": ALPHA, "first of 45": ALPHA / 45}
    planned = {name: power_two_way(components, seeds, cases, gap, alpha) for name, alpha in levels.items()}
    p_values, equivalent = [], []
    for stream in streams(base_seed, "power", seeds, repetitions):
        values = draw(stream, scenario, seeds, cases, level, lead).values
        result = two_way(values[0] - values[1])
        p_values.append(result.p_value() or 0.0)
        equivalent.append((equivalence_p(result, gap) or 0.0) <= ALPHA)
    found = {name: float(np.mean(np.array(p_values) <= alpha)) for name, alpha in levels.items()}
    return {
        "part": "power",
        "seeds": seeds,
        "repetitions": repetitions,
        "true_difference": gap,
        "planned": planned,
        "found": found,
        "equivalent_at_margin": float(np.mean(equivalent)),
    }


def line(row: Row) -> str:
    """A row in words."""
    powers = ", ".join(
        f"{name}: planned {value:.3f}, found {row['found'][name]:.3f}" for name, value in row["planned"].items()
    )
    return (
        f"power, {row['seeds']} seeds, true difference {row['true_difference']:.4f}: {powers}; called equivalent "
        f"at the margin {row['equivalent_at_margin']:.3f}"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """The only one."""
    yield Setting("power", partial(power_found, repetitions, base_seed), repetitions)
