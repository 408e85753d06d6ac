"""What the true variance of an estimate may be, given the mean squares that were observed.

A p value and an interval that take an observed variance for the true one are wrong where few degrees of freedom stand
behind it. Behrens and Fisher average over what the true one may be instead (Fisher, Annals of Eugenics 6, 1935): an
observed mean square ``M`` with ``df`` degrees of freedom leaves ``M df / chi2(df)`` for the expected one. An estimate
is then a mixture of normal distributions around the truth, one for each variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from analysis.stats.quadrature import FloatArray, mean_square_ratio

_NODES = ((3.0, 64), (60.0, 40), (math.inf, 16))
"""Below so many degrees of freedom an integral takes so many nodes. p values down to 1e-6 are then right to 2e-4 of
themselves with two replicates, to 1e-4 with more, however small the share of the seeds."""
_NEGLIGIBLE = 1e-14
"""A pair of variances with a smaller weight is left out: all of them together weigh less than 2e-11."""


@dataclass(frozen=True, slots=True)
class Variances:
    """A discrete distribution of variances, in squared units of the metric."""

    values: FloatArray
    """Shape (n,), above zero."""
    weights: FloatArray
    """Shape (n,), at least zero; they sum to 1 up to the last digits."""

    def tail(self, distance: float) -> float:
        """Chance that an estimate lies at least so far above the truth (negative: anywhere above so far below)."""
        return min(1.0, float(self.weights @ ndtr(-distance / np.sqrt(self.values))))

    def distance(self, tail: float) -> float:
        """The distance above the truth with a chance of ``tail`` to lie beyond it: the inverse of ``tail``.

        Args:
            tail: in (0, 0.5).
        """
        errors = np.sqrt(self.values)
        return float(mixture_quantiles(errors[None], self.weights, tail, float(self.weights @ errors))[0])


@dataclass(frozen=True, slots=True)
class MeanSquare:
    """A part of an observed variance, in squared units of the metric, and the degrees of freedom behind it."""

    variance: float
    df: float

    @classmethod
    def pooled(cls, parts: Sequence[MeanSquare]) -> MeanSquare:
        """The sum of independent parts, with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946).

        Args:
            parts: at least one.
        """
        total = math.fsum(part.variance for part in parts)
        spread = math.fsum(part.variance**2 / part.df for part in parts)
        # Where nothing varies the degrees of freedom do not matter.
        return cls(total, total**2 / spread if spread > 0 else parts[0].df)


def possible(seed: MeanSquare, case: MeanSquare | None = None) -> Variances:
    """What the true variance may be of an estimate over seeds, or over seeds and cases.

    Args:
        seed: the part that varies between seeds; alone, the mixture is Student's t.
        case: the part that varies between cases. Not both are zero.
    """
    ratio, weight = ratio_rule(seed.df)
    if case is None:
        return Variances(seed.variance / ratio, weight)
    ratios, weights = ratio_rule(case.df)
    both = weight[:, None] * weights
    values = seed.variance / ratio[:, None] + case.variance / ratios
    matters = both > _NEGLIGIBLE
    return Variances(values[matters], both[matters])


def nested(between: MeanSquare, within: MeanSquare, factor: float) -> Variances:
    """What the true variance may be of a mean over units that were drawn in sets, and of which the sets' part counts
    more than once: ``between + factor · max(0, between - within)``.

    Args:
        between: mean square between sets, above zero.
        within: mean square within sets.
        factor: at least 0.
    """
    (ratio, weight), (ratios, weights) = ratio_rule(between.df), ratio_rule(within.df)
    possible_between = between.variance / ratio[:, None]
    values = possible_between + factor * np.maximum(0.0, possible_between - within.variance / ratios)
    return Variances(values.ravel(), (weight[:, None] * weights).ravel())


def mixture_quantiles(errors: FloatArray, weights: FloatArray, tail: float, scale: float) -> FloatArray:
    """The values above which mixtures of normal distributions around zero have a probability ``tail``.

    Args:
        errors: their standard deviations, a row a mixture; where rounding leaves none at all, nothing lies above 0.
        weights: of each column; they sum to 1.
        tail: below 0.5.
        scale: their usual order.
    """
    errors = np.maximum(errors, np.finfo(np.float64).tiny)
    # Newton's method on the logarithm, which is nearly a parabola; a step out of the bracket gives way to a bisection.
    low, high = np.zeros(len(errors)), np.full(len(errors), np.inf)
    value = np.full(len(errors), scale * -float(ndtri(tail)))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(100):
            scaled = value[:, None] / errors
            above = ndtr(-scaled) @ weights
            density = (np.exp(-np.square(scaled) / 2) / errors) @ weights / math.sqrt(2 * math.pi)
            low, high = np.where(above > tail, value, low), np.where(above > tail, high, value)
            following = value + above * np.log(above / tail) / density
            inside = (low <= following) & (following <= high)
            following = np.where(inside, following, np.where(high == np.inf, 2 * value, (low + high) / 2))
            moved = np.abs(following - value)
            value = following
            # The error after a step is at most about the square of the step.
            if (moved <= 1e-5 * value).all():
                break
    return value


def ratio_rule(df: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of ``chi2(df) / df``: as few as a p value to 1e-4 of itself needs."""
    return mean_square_ratio(float(df), next(nodes for below, nodes in _NODES if df < below))
