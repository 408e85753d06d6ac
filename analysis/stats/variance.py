"""What the uncertainty of a result is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.stats.twoway import Components


@dataclass(frozen=True, slots=True)
class VarianceShares:
    """Where the variance of a mean over seeds and cases comes from; the three shares sum to 1."""

    components: Components
    standard_error: float
    """In units of the metric; components below zero count as zero."""
    seed_share: float
    case_share: float
    interaction_share: float
    standard_error_with_endless_seeds: float
    """What remains when only the cases limit."""


def split_variance(components: Components, seeds: int, cases: int) -> VarianceShares:
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
    return VarianceShares(
        components=components,
        standard_error=math.sqrt(total),
        seed_share=seed / total,
        case_share=case / total,
        interaction_share=interaction / total,
        standard_error_with_endless_seeds=math.sqrt(case),
    )
