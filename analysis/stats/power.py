"""What a design can detect, from the noncentral t distribution.

The distribution is integrated over the chi distribution of the standard error: library routines for it return nothing
at large noncentralities, which small alphas of corrected tests reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, stdtrit

from analysis.stats.estimate import Estimate, FloatArray
from analysis.stats.quadrature import mean_square_ratio
from analysis.stats.twoway import Components, TwoWay, variance_and_df
from analysis.stats.variances import mixture_quantiles, ratio_rule


@dataclass(frozen=True, slots=True)
class PowerPlan:
    """What a number of seeds and cases promises for a mean difference."""

    seeds: int
    cases: int
    standard_error: float
    """In units of the metric."""
    df: float
    detectable: float
    """Smallest true difference found with the wanted power, in units of the metric."""


def power_of_t(noncentrality: float, df: float, alpha: float = 0.05) -> float:
    """Probability that a two-sided t test at level ``alpha`` rejects.

    Args:
        noncentrality: true difference over the true standard error of its estimate.
        df: degrees of freedom, at least 1, not necessarily whole.
        alpha: in (0, 1).

    Raises:
        ValueError: df below 1 or alpha outside (0, 1).
    """
    if df < 1 or not 0 < alpha < 1:
        raise ValueError(f"needs df of at least 1 and alpha in (0, 1), got {df} and {alpha}")
    critical = float(stdtrit(df, 1 - alpha / 2))
    square, weight = mean_square_ratio(float(df))
    ratio = np.sqrt(square)
    reject = ndtr(noncentrality - critical * ratio) + ndtr(-noncentrality - critical * ratio)
    return min(1.0, float(reject @ weight))


@lru_cache(maxsize=4096)
def detectable_noncentrality(df: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The noncentrality that a two-sided t test rejects with probability ``power``; times the standard error it is
    the minimal detectable difference in units of the metric.

    Raises:
        ValueError: a power outside (alpha, 1), or as for ``power_of_t``.
    """
    from scipy.optimize import brentq

    if not alpha < power < 1:
        raise ValueError(f"power must lie between alpha ({alpha}) and 1, got {power}")
    high = 1.0
    while power_of_t(high, df, alpha) < power:
        high *= 2
    return float(brentq(lambda value: power_of_t(value, df, alpha) - power, 0.0, high, xtol=1e-10))


def detectable_difference(estimate: Estimate, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Minimal detectable difference of the design that gave an estimate, in units of the metric.

    For a two-way estimate that of its own, more careful p value, with components below zero counted as zero.

    Args:
        estimate: with the standard error of the design; its value does not matter.
        alpha: level; for the first step of Holm the level divided by the size of the family.
        power: probability of detection.

    Returns:
        None without a standard error.
    """
    if estimate.standard_error is None or estimate.df is None:
        return None
    if isinstance(estimate, TwoWay):
        squares = estimate.mean_squares
        return plan_two_way(estimate.components, squares.seeds, squares.cases, alpha, power).detectable
    return detectable_noncentrality(estimate.df, alpha, power) * estimate.standard_error


def detectable_dz(seeds: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest d_z (mean over standard deviation of paired differences) that so many seeds detect."""
    _at_least_two(seeds)
    return detectable_noncentrality(seeds - 1, alpha, power) / math.sqrt(seeds)


def power_over_seeds(d_z: float, seeds: int, alpha: float = 0.05) -> float:
    """Power of a paired two-sided t test over so many seeds."""
    _at_least_two(seeds)
    return power_of_t(d_z * math.sqrt(seeds), seeds - 1, alpha)


def seeds_needed(d_z: float, alpha: float = 0.05, power: float = 0.8, most: int = 1000) -> int | None:
    """The fewest seeds (from 2) that detect ``d_z``; None if ``most`` do not suffice."""
    if power_over_seeds(d_z, most, alpha) < power:
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_over_seeds(d_z, middle, alpha) >= power else (middle, high)
    return high


def plan_two_way(components: Components, seeds: int, cases: int, alpha: float = 0.05, power: float = 0.8) -> PowerPlan:
    """What so many seeds and cases detect where the variance components of the differences are known.

    More seeds do not lower the part of the variance that comes from the cases.

    Raises:
        ValueError: fewer than two seeds or cases, no component above zero, or a power outside (alpha, 1).
    """
    from scipy.optimize import brentq

    if not alpha < power < 1:
        raise ValueError(f"power must lie between alpha ({alpha}) and 1, got {power}")
    error, df, distances, weights = _two_way_test(components, seeds, cases, alpha)
    high = error
    while _rejections(high, error, distances, weights) < power:
        high *= 2
    detectable = brentq(lambda value: _rejections(value, error, distances, weights) - power, 0.0, high, xtol=1e-12)
    return PowerPlan(seeds, cases, error, df, float(detectable))


def power_two_way(components: Components, seeds: int, cases: int, difference: float, alpha: float = 0.05) -> float:
    """Probability that the two-way p value of a true ``difference`` is at most ``alpha``.

    Raises:
        ValueError: fewer than two seeds or cases, or no component above zero.
    """
    error, _, distances, weights = _two_way_test(components, seeds, cases, alpha)
    return _rejections(difference, error, distances, weights)


def _two_way_test(
    components: Components, seeds: int, cases: int, alpha: float
) -> tuple[float, float, FloatArray, FloatArray]:
    """Standard error, degrees of freedom, and how far from zero an estimate must lie: one distance for each value
    that the observed mean square between seeds may take, with the chance of that value."""
    _at_least_two(seeds)
    _at_least_two(cases)
    squares = components.expected_mean_squares(seeds, cases)
    if squares.seed + squares.case == 0:
        raise ValueError("without any variance there is nothing to plan")
    variance, df, _ = variance_and_df(squares)
    ratio, weight = ratio_rule(seeds - 1)
    # Cases are many, so their mean square is taken as known; what the test makes of each one between seeds is not.
    errors = np.sqrt((squares.seed * ratio[:, None] / ratio + squares.case - squares.residual) / (seeds * cases))
    error = math.sqrt(variance)
    return error, df, mixture_quantiles(errors, weight, alpha / 2, error), weight


def _rejections(difference: float, error: float, distances: FloatArray, weights: FloatArray) -> float:
    away = ndtr((difference - distances) / error) + ndtr((-difference - distances) / error)
    return min(1.0, float(away @ weights))


def _at_least_two(number: int) -> None:
    if number < 2:
        raise ValueError(f"needs at least 2, got {number}")
