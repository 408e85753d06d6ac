"""Effect sizes of paired differences over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.estimate import finite, paired_differences
from analysis.stats.paired import rank_sums


@dataclass(frozen=True, slots=True)
class Effects:
    """Of the first method over the second, paired by seed; positive where the first has the larger values."""

    mean_difference: float
    """In units of the metric."""
    d_z: float | None
    """Mean over standard deviation of the differences; None without spread, and for two seeds, where the standard
    deviation has one degree of freedom and the ratio no expectation."""
    g_z: float | None
    """``d_z`` with Hedges' correction for its bias; None where ``d_z`` is."""
    probability_larger: float
    """Fraction of seeds in which the first is larger, equal values counting one half; in [0, 1]."""
    rank_biserial: float
    """(positive - negative rank sum) / their sum (Kerby 2014), in [-1, 1]; 0 where all differences are zero."""


def paired_effects(first: npt.ArrayLike, second: npt.ArrayLike) -> Effects:
    """Effect sizes of two methods on the same seeds, in the same order.

    Args:
        first, second: shape (n,), n ≥ 2, finite.

    Raises:
        ValueError: different lengths, fewer than two seeds, or a value that is not finite.
    """
    a, b = finite(first, 1), finite(second, 1)
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"needs the same seeds on both sides, at least two, got {len(a)} and {len(b)}")
    differences = paired_differences(a, b)
    positive, negative = rank_sums(differences)
    ranks = positive + negative
    spread = float(differences.std(ddof=1)) if len(a) > 2 and np.ptp(differences) > 0 else 0.0
    d_z = float(differences.mean()) / spread if spread else None
    return Effects(
        mean_difference=float(differences.mean()),
        d_z=d_z,
        g_z=None if d_z is None else d_z * hedges_correction(len(a) - 1),
        probability_larger=float(np.mean((a > b) + 0.5 * (a == b))),
        rank_biserial=(positive - negative) / ranks if ranks else 0.0,
    )


def hedges_correction(df: float) -> float:
    """``Γ(df / 2) / (sqrt(df / 2) Γ((df - 1) / 2))``, which removes the bias of a standardised mean (Hedges 1981).

    Raises:
        ValueError: one degree of freedom or fewer, where the standardised mean has no expectation.
    """
    if df <= 1:
        raise ValueError(f"a standardised mean on {df:g} degrees of freedom has no expectation to correct")
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)


def a12(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Probability that a run of the first beats a run of the second, pairing ignored (Vargha and Delaney 2000).

    Args:
        first, second: shapes (n,) and (m,), finite.
    """
    a, b = finite(first, 1), finite(second, 1)
    return float(np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b)))
