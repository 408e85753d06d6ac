"""An estimate with its standard error, from which intervals and p values follow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from analysis.stats.cautions import Caution
from analysis.stats.quadrature import FloatArray as FloatArray
from analysis.stats.variances import MeanSquare, Variances, possible

Scope = Literal["seeds", "seeds_and_cases", "splits", "fixed_datasets", "datasets"]
"""What varies: retraining; retraining and new cases; retraining on new training and test sets; what varies on each of
some datasets, averaged over them; new datasets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A difference (or a mean) whose distance from the truth, over its standard error, follows Student's t."""

    estimate: float
    standard_error: float | None
    """None where the data show no spread at all."""
    df: float | None
    """Degrees of freedom, not always whole; None with the standard error."""
    confidence: float
    low: float | None
    high: float | None
    scope: Scope
    cautions: tuple[Caution, ...] = ()

    def p_value(self, against: float = 0.0) -> float | None:
        """Two-sided p value of the hypothesis that the truth is ``against``; None without a standard error."""
        tail = self.tail(abs(self.estimate - against))
        return None if tail is None else min(1.0, 2.0 * tail)

    def tail(self, distance: float) -> float | None:
        """Chance that an estimate lies at least so far above the truth (negative: anywhere above so far below).

        None without a standard error.
        """
        if self.standard_error is None or self.df is None:
            return None
        return float(stdtr(self.df, -distance / self.standard_error))

    def half_width(self, confidence: float) -> float | None:
        """Half the length of the interval of that coverage, by inverting ``tail``; None without a standard error."""
        if self.standard_error is None or self.df is None:
            return None
        return t_quantile(self.df, confidence) * self.standard_error

    def parts(self) -> tuple[MeanSquare, MeanSquare | None] | None:
        """The parts of its variance between seeds and, where it is over cases, between cases; None without any."""
        if self.standard_error is None or self.df is None:
            return None
        return MeanSquare(self.standard_error**2, self.df), None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed(Estimate):
    """An estimate whose p value and interval average over what its true variance may be, as ``parts`` leave it open.

    Both invert the same tail, so that the interval excludes a value exactly where its p value is below 1 - coverage.
    """

    def tail(self, distance: float) -> float | None:
        """As that of any estimate, after Behrens and Fisher (``analysis.stats.variances``)."""
        variances = self._variances()
        return None if variances is None else variances.tail(distance)

    def half_width(self, confidence: float) -> float | None:
        """The distance with half of what is not covered beyond it."""
        variances = self._variances()
        return None if variances is None else variances.distance((1 - confidence) / 2)

    def _variances(self) -> Variances | None:
        parts = self.parts()
        return None if parts is None else possible(*parts)


Made = TypeVar("Made", bound=Estimate)


def t_quantile(df: float, confidence: float) -> float:
    """Half width, in standard errors, of a two-sided interval of Student's t with ``df`` degrees of freedom.

    Raises:
        ValueError: confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    return float(stdtrit(df, (1 + confidence) / 2))


def with_ends(estimate: Made) -> Made:
    """The same with the ends of its interval, as far from it as ``half_width`` says; as it is without a half width."""
    half = estimate.half_width(estimate.confidence)
    if half is None:
        return estimate
    return replace(estimate, low=estimate.estimate - half, high=estimate.estimate + half)


def with_interval(
    estimate: float,
    standard_error: float | None,
    df: float | None,
    confidence: float,
    scope: Scope,
    cautions: Iterable[Caution | None] = (),
) -> Estimate:
    """An estimate with Student's interval; without one where the standard error is None.

    Args:
        estimate: in units of the metric.
        standard_error: of it.
        df: degrees of freedom.
        confidence: coverage in (0, 1).
        scope: what varies.
        cautions: those that are None are left out.
    """
    known = standard_error is not None and df is not None
    return with_ends(
        Estimate(
            estimate=estimate,
            standard_error=standard_error if known else None,
            df=df if known else None,
            confidence=confidence,
            low=None,
            high=None,
            scope=scope,
            cautions=tuple(caution for caution in cautions if caution is not None),
        )
    )


def mean_over_seeds(values: FloatArray, confidence: float = 0.95, scope: Scope = "seeds") -> Estimate:
    """Student's interval of a mean (Biometrika 6, 1908): over seeds, the narrower claim, or over datasets.

    Args:
        values: shape (n,), n ≥ 2, finite: one score, or one paired difference, a seed.
        confidence: coverage in (0, 1).
        scope: what one value stands for.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    values = finite(values, 1)
    n = len(values)
    if n < 2:
        raise ValueError("an interval needs at least two values")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n)
    # Values that are equal may differ from their mean in the last digit, and tiny ones have no square.
    spread = np.ptp(values) > 0 and error > 0
    return with_interval(mean, error if spread else None, n - 1.0, confidence, scope)


def paired_differences(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """First minus second; differences that are equal on paper are equal here.

    0.85 - 0.80 and 0.75 - 0.70 differ in their last binary digits. Without this, such digits would count as the spread
    over seeds, and any difference would be significant.

    Args:
        first, second: shape (n,), finite.
    """
    a, b = finite(first, 1), finite(second, 1)
    differences = a - b
    rounding = 8 * np.finfo(np.float64).eps * max(float(np.abs(a).max()), float(np.abs(b).max()))
    if np.ptp(differences) <= rounding:
        differences = np.full_like(differences, float(np.median(differences)))
    return differences


def finite(values: npt.ArrayLike, axes: int) -> FloatArray:
    """The values as float64 after checking that they have so many axes, none of length 0, and are finite.

    Raises:
        ValueError: they do not.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != axes or array.size == 0:
        raise ValueError(f"needs a non-empty array with {axes} axes, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite")
    return array
