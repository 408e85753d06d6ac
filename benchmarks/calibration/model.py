"""The latent model of seeds and cases that sweeps are drawn from.

The chance that a case is classified correctly depends on the case (some are hard for all), on the case for this method,
on the seed of this method, and on chance. The default spread gives differences of accuracy with variance components as
in sweeps of four small ResNets on real Brain MRI images and on digits (standard deviations between seeds 0 to 0.06,
between cases 0.05 to 0.34, of what remains 0.11 to 0.32).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from analysis.stats.cautions import VERDICT_REPLICATES
from analysis.stats.estimate import Estimate, FloatArray
from analysis.stats.multiplicity import adjust
from harness.metrics.influence import area_values
from harness.metrics.repeated import RepeatedCases
from harness.metrics.table import built_in

Row = dict[str, Any]
IntArray = npt.NDArray[np.int64]

METHODS = 6
PAIRS = tuple(combinations(range(METHODS), 2))
CASES, LEVELS = (150, 400, 1000), (0.8, 1.2, 1.8)
"""Test cases of the three datasets, and how far the average case lies on the right side."""
SHARED_SD, OWN_SD, CHANCE_SD = 1.0, 0.5, 0.5
"""How cases differ for all methods, for one of them, and from training to training."""
CLASS_SHARES = (0.55, 0.3, 0.15)
ALPHA = 0.05
COVERAGE = (0.935, 0.97)
SLOPE, THIRD_CLASS = 1.5, -1.0
"""Of logits: how they grow with the latent margin, so that probabilities are about calibrated, where the calibration
error is hardest; and the logit of the class that is neither right nor the rival."""


@dataclass(frozen=True)
class Setting:
    """What is counted for each number of replicates."""

    name: str
    count: Callable[[int], Row]
    """From a number of replicates to what was found."""
    repetitions: int
    fewest: int = 1
    """Replicates that it is counted for."""


@dataclass(frozen=True)
class Scenario:
    """A way in which sweeps come about."""

    name: str
    metric: Literal["accuracy", "balanced_accuracy", "auc"]
    seed_sd: float
    seeds: Literal["normal", "skewed", "collapsing"] = "normal"
    group_size: int = 1
    use_groups: bool = True
    cases: tuple[int, ...] = CASES
    careful: bool = False
    """Whether intervals may cover more than they promise: with few patients a rough one is not a narrow one."""
    required: bool = True
    """Whether the protocol promises anything here."""


QUIET = Scenario("accuracy, quiet seeds", "accuracy", 0.05)
NOISY = Scenario("accuracy, noisy seeds", "accuracy", 0.25)


@dataclass(frozen=True)
class Drawn:
    """Test results of all methods on one dataset."""

    values: FloatArray
    """(methods, seeds, cases): correctness or pseudo-values."""
    groups: IntArray | None


def draw(
    rng: np.random.Generator, scenario: Scenario, seeds: int, cases: int, level: float, lead: float = 0.0
) -> Drawn:
    """One dataset of a sweep; ``lead`` moves the first method's level."""
    noise, effects, groups = latent(rng, scenario, seeds, cases)
    effects[0] += lead
    labels = labels_of(cases)
    if scenario.metric == "auc":
        own = labels == 0
        score = noise + own * (level + effects)
        values = stacked(area_values(one, own) for one in score)
    elif scenario.metric == "accuracy":
        values = (noise + level + effects > 0).astype(np.float64)
    else:
        values = case_values("balanced_accuracy", logits_of(noise + level + effects, labels, (labels + 1) % 3), labels)
    return Drawn(values, groups if scenario.group_size > 1 and scenario.use_groups else None)


def latent(
    rng: np.random.Generator, scenario: Scenario, seeds: int, cases: int
) -> tuple[FloatArray, FloatArray, IntArray]:
    """What cases and chance do to trainings, (methods, seeds, cases); what seeds do, (methods, seeds, 1); groups."""
    groups = np.arange(cases) // scenario.group_size
    count = int(groups[-1]) + 1
    effects = seed_effects(rng, scenario, (METHODS, seeds, 1))
    shared = SHARED_SD * rng.standard_normal(count)[groups]
    noise = CHANCE_SD * rng.standard_normal((METHODS, seeds, cases), dtype=np.float32)
    noise += OWN_SD * rng.standard_normal((METHODS, 1, count))[:, :, groups]
    return noise + shared, effects, groups


def labels_of(cases: int) -> IntArray:
    """Three classes of different size, in the order of the cases."""
    return np.searchsorted(np.cumsum(CLASS_SHARES), np.linspace(0, 1, cases, endpoint=False), "right")


def logits_of(margin: FloatArray, labels: IntArray, rivals: IntArray) -> FloatArray:
    """Logits (methods, seeds, cases, classes) by which a case is right where its margin is above zero.

    Args:
        margin: of the right class over its rival, shape (methods, seeds, cases).
        labels, rivals: the two classes of each case, shape (cases,).
    """
    logits = np.full((*margin.shape, len(CLASS_SHARES)), THIRD_CLASS)
    place = np.arange(len(labels))
    logits[:, :, place, rivals] = 0.0
    logits[:, :, place, labels] = SLOPE * margin
    return logits


def case_values(metric: str, logits: FloatArray, labels: IntArray) -> FloatArray:
    """A metric's values, shape (methods, seeds, cases)."""
    return stacked(built_in()[metric].case_values(RepeatedCases(own, labels)) for own in logits)


def stacked(tables: Iterable[FloatArray | None]) -> FloatArray:
    """One array of all; every class has a case here, so that there is none that is not defined."""
    return np.stack([table for table in tables if table is not None])


def seed_effects(rng: np.random.Generator, scenario: Scenario, shape: tuple[int, ...]) -> FloatArray:
    """What a seed does to a method's level."""
    if scenario.seeds == "skewed":
        return scenario.seed_sd * (1.0 - rng.exponential(size=shape))
    effects = scenario.seed_sd * rng.standard_normal(shape)
    return effects - 2.0 * (rng.random(shape) < 0.1) if scenario.seeds == "collapsing" else effects


def streams(base_seed: int, name: str, seeds: int, repetitions: int) -> Iterator[np.random.Generator]:
    """One generator a repetition, so that more repetitions keep the first ones."""
    for repetition in range(repetitions):
        yield np.random.default_rng((base_seed, *name.encode(), seeds, repetition))


def covers(estimate: Estimate, truth: float = 0.0) -> bool:
    if estimate.low is None or estimate.high is None:
        return abs(estimate.estimate - truth) < 1e-12
    return estimate.low <= truth <= estimate.high


def any_claim(estimates: Sequence[Estimate], seeds: int) -> bool:
    p_values = [1.0 if (p := entry.p_value()) is None else p for entry in estimates]
    return seeds >= VERDICT_REPLICATES and bool((adjust(p_values) <= ALPHA).any())


def wilson(rate: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (J. Amer. Statist. Assoc. 22, 1927)."""
    square = float(ndtri(0.975)) ** 2
    middle, root = rate + square / (2 * count), rate * (1 - rate) / count + square / (4 * count**2)
    half, size = math.sqrt(square * root), 1 + square / count
    return max(0.0, middle - half) / size, (middle + half) / size
