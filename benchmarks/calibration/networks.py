"""Several networks: does a difference change from one to another, and is a verdict the same on all of them?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from scipy.special import ndtr, ndtri

from analysis.stats.case_sets import mean_over_sets
from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds
from analysis.stats.interaction import interaction
from analysis.stats.multiplicity import adjust
from analysis.stats.twoway import two_way
from benchmarks.calibration.model import ALPHA, CHANCE_SD, SHARED_SD, Row, Setting, covers, streams

METHODS, CASES = 4, 300
"""The first method is the control."""
LEVELS = (0.5, 1.1)
"""How far the average case lies on the right side on the first and on the last network, for the control."""
ON_NETWORK_SD, OF_METHOD_SD, OF_BOTH_SD = 0.4, 0.35, 0.35
"""How cases differ for a network, for a method, and for a method on a network."""
SEED_SD, SEED_ON_NETWORK_SD = 0.05, 0.15
"""What a seed does to a method on all networks, and on one."""
SPREAD = math.sqrt(
    SHARED_SD**2
    + ON_NETWORK_SD**2
    + OF_METHOD_SD**2
    + OF_BOTH_SD**2
    + CHANCE_SD**2
    + SEED_SD**2
    + SEED_ON_NETWORK_SD**2
)
GAIN = 0.1
"""Accuracy by which the second method is better, where it is."""
EQUAL, ALIKE, BUT_ONE = "all methods equal", "one better on each by as much", "one better on all but one"


@dataclass(frozen=True, slots=True)
class _Found:
    """What one sweep says."""

    covered: float
    """Share of the changes between two networks that their intervals cover."""
    clearest: float
    """Share of pairs of methods whose reported change, the clearest, is covered: it is selected."""
    changes: bool
    """Whether some difference is said to change from network to network."""
    everywhere: bool
    """Whether the second method is called better than the control on each network."""


def of_networks(shape: str, networks: int, repetitions: int, base_seed: int, seeds: int) -> Row:
    """Coverage of changes, and the claims that nothing in the truth carries.

    A family is what a report corrects together: each method against the control. Verdicts on single networks are not
    corrected here, which favours the claim that all of them agree.
    """
    gains = np.zeros((METHODS, networks))
    gains[1] = {EQUAL: 0.0, ALIKE: GAIN, BUT_ONE: GAIN}[shape]
    if shape == BUT_ONE:
        gains[1, -1] = 0.0
    control = ndtr(np.linspace(*LEVELS, networks) / SPREAD)
    levels = SPREAD * ndtri(control + gains)
    found = [_sweep(rng, levels, gains, seeds) for rng in streams(base_seed, f"{shape} {networks}", seeds, repetitions)]
    by_sweep = np.array([one.covered for one in found])
    floor = math.sqrt(ALPHA * (1 - ALPHA) / repetitions / (METHODS - 1))
    return {
        "part": "networks",
        "shape": shape,
        "networks": networks,
        "seeds": seeds,
        "repetitions": repetitions,
        "coverage": float(by_sweep.mean()),
        "coverage_error": max(float(by_sweep.std(ddof=1)) / math.sqrt(repetitions), floor),
        "clearest_coverage": float(np.mean([one.clearest for one in found])),
        "false_changes": None if shape == BUT_ONE else float(np.mean([one.changes for one in found])),
        "false_everywhere": None if shape == ALIKE else float(np.mean([one.everywhere for one in found])),
    }


def _sweep(rng: np.random.Generator, levels: FloatArray, gains: FloatArray, seeds: int) -> _Found:
    """One dataset with every method on every network.

    Args:
        rng: of the sweep.
        levels: how far the average case lies on the right side, shape (methods, networks).
        gains: true accuracy minus that of the control, likewise.
        seeds: of each method on each network.
    """
    networks = levels.shape[1]
    case = SHARED_SD * rng.standard_normal(CASES) + ON_NETWORK_SD * rng.standard_normal((networks, 1, CASES))
    case = case + OF_METHOD_SD * rng.standard_normal((METHODS, 1, 1, CASES))
    case = case + OF_BOTH_SD * rng.standard_normal((METHODS, networks, 1, CASES))
    trained = SEED_SD * rng.standard_normal((METHODS, 1, seeds, 1))
    trained = trained + SEED_ON_NETWORK_SD * rng.standard_normal((METHODS, networks, seeds, 1))
    chance = CHANCE_SD * rng.standard_normal((METHODS, networks, seeds, CASES))
    correct = (levels[:, :, None, None] + case + trained + chance > 0).astype(np.float64)
    covered, clearest, p_values = [], [], []
    for method in range(1, METHODS):
        of_network, truth = correct[method] - correct[0], gains[method]
        changes: dict[tuple[int, int], Estimate] = {}
        for first, second in combinations(range(networks), 2):
            # As a report combines the scores of the same trainings.
            table = of_network[first] - of_network[second]
            changes[first, second] = mean_over_sets(mean_over_seeds(table.mean(axis=1)), [table])
        covered += [covers(one, truth[first] - truth[second]) for (first, second), one in changes.items()]

        def change(first: int, second: int, known: Mapping[tuple[int, int], Estimate] = changes) -> Estimate:
            return known[first, second]

        tested = interaction(networks, change)
        clearest.append(covers(tested.change, truth[tested.first] - truth[tested.second]))
        p_values.append(1.0 if tested.p is None else tested.p)
    alone = [two_way(table) for table in correct[1] - correct[0]]
    return _Found(
        covered=float(np.mean(covered)),
        clearest=float(np.mean(clearest)),
        changes=bool((adjust(p_values) <= ALPHA).any()),
        everywhere=all(one.estimate > 0 and (p := one.p_value()) is not None and p <= ALPHA for one in alone),
    )


def line(row: Row) -> str:
    """A row in words."""
    changes = "" if row["false_changes"] is None else f"; false changes {row['false_changes']:.3f}"
    coverage = f"coverage of a change {row['coverage']:.3f} ± {row['coverage_error']:.3f}"
    everywhere = "" if row["false_everywhere"] is None else f"; falsely better on each {row['false_everywhere']:.3f}"
    return (
        f"{row['networks']} networks, {row['shape']}, {row['seeds']} seeds: {coverage}, of the clearest "
        f"{row['clearest_coverage']:.3f}{changes}{everywhere}"
    )


def settings(repetitions: int, base_seed: int) -> Iterator[Setting]:
    """One a truth and number of networks; each repetition has up to twenty-one comparisons."""
    own = max(2, repetitions // 2)
    for shape, networks in ((EQUAL, 2), (EQUAL, 4), (ALIKE, 4), (BUT_ONE, 3)):
        count = partial(of_networks, shape, networks, own, base_seed)
        yield Setting(f"networks, {networks}, {shape}", count, own, fewest=3)
