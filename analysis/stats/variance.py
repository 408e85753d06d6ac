"""What the uncertainty of a result is made of, and what more seeds would buy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.estimate import finite
from analysis.stats.twoway import Components, mean_squares


@dataclass(frozen=True, slots=True)
class Split:
    """Where the variance of a mean over seeds and cases comes from; the three shares sum to 1."""

    components: Components
    standard_error: float
    """In units of the metric; components below zero count as zero."""
    seed_share: float
    case_share: float
    interaction_share: float
    standard_error_with_endless_seeds: float
    """What remains when only the cases limit."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well means over seeds tell methods apart, on one test set."""

    method_variance: float
    seed_variance: float
    """Of one seed, within a method; squared units of the metric."""
    reliability: float
    """Share of the variance between methods' means that is not due to seeds, in [0, 1]: the generalisability
    coefficient of Cronbach et al. 1972, Spearman-Brown's for the mean of so many seeds."""

    def with_seeds(self, seeds: int) -> float:
        """The reliability of means over another number of seeds."""
        total = self.method_variance + self.seed_variance / seeds
        return self.method_variance / total if total > 0 else 0.0


def split_variance(components: Components, seeds: int, cases: int) -> Split:
    """Shares of seed, case and their interaction in the variance of a mean.

    Args:
        components: of one method's values, or of a difference.
        seeds, cases: how many the mean is over.

    Raises:
        ValueError: no component is above zero.
    """
    seed = max(0.0, components.seed) / seeds
    case = max(0.0, components.case) / cases
    interaction = max(0.0, components.interaction) / (seeds * cases)
    total = seed + case + interaction
    if total == 0:
        raise ValueError("without any variance there is nothing to split")
    return Split(
        components=components,
        standard_error=math.sqrt(total),
        seed_share=seed / total,
        case_share=case / total,
        interaction_share=interaction / total,
        standard_error_with_endless_seeds=math.sqrt(case),
    )


def seed_reliability(scores: npt.ArrayLike) -> Reliability:
    """Reliability of the number of seeds, from the scores of all methods.

    Seeds are paired between methods, so what all methods gain or lose with a seed does not count.

    Args:
        scores: shape (methods, seeds), at least 2 × 2, finite.

    Raises:
        ValueError: another shape, or a value that is not finite.
    """
    table = finite(scores, 2)
    squares = mean_squares(np.ascontiguousarray(table))
    methods = max(0.0, squares.components.seed)
    found = Reliability(methods, squares.residual, 0.0)
    return Reliability(methods, squares.residual, found.with_seeds(table.shape[1]))
