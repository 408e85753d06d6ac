"""Several datasets: the average over exactly these, and, where there are enough, a claim about new ones.

Datasets of one source share patients, so that they are not independent. They are averaged first, and the source counts
once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import few_datasets, few_datasets_for_population, refuse, zero_variance
from analysis.stats.estimate import Estimate, FloatArray, Mixed, mean_over_seeds, with_ends, with_interval
from analysis.stats.variances import MeanSquare

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class _MeanOver(Mixed):
    """An average of estimates."""

    over: tuple[Estimate, ...]

    def each(self) -> list[tuple[MeanSquare, MeanSquare | None]] | None:
        """What varies between seeds and between cases in each; None where that is not known of all."""
        found = [parts for one in self.over if (parts := one.parts()) is not None]
        return found if len(found) == len(self.over) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedMean(_MeanOver):
    """An average over independent sources.

    What varies between seeds is pooled over the datasets into one mean square, and what varies between cases into
    another. Taking each of the parts as unknown for itself would be far too careful: with three seeds on three datasets
    intervals covered 99.5 in 100; pooled 96 to 98 (``benchmarks/calibration``).
    """

    def parts(self) -> tuple[MeanSquare, MeanSquare | None] | None:
        """Of the sum over the datasets, over the square of their number."""
        found = self.each()
        if found is None:
            return None
        size = len(found) ** 2
        cases = [MeanSquare(case.variance / size, case.df) for _, case in found if case is not None]
        seed = MeanSquare.pooled([MeanSquare(part.variance / size, part.df) for part, _ in found])
        return seed, MeanSquare.pooled(cases) if cases else None


def fixed_dataset_mean(estimates: Sequence[Estimate], confidence: float = 0.95) -> Estimate:
    """Unweighted average of one comparison over datasets that were tried, to be worded so.

    The datasets are independent, so the variance is ``sum(var_d) / D²`` with Satterthwaite's degrees of freedom
    ``sum(var_d)² / sum(var_d² / df_d)`` (Biometrics Bulletin 2, 1946). They are told; interval and p value are those of
    ``FixedMean``: with 12 patients a dataset Satterthwaite's covered 91 in 100 instead of 95.

    Args:
        estimates: one a source: of one dataset, or of the mean over several.
        confidence: coverage in (0, 1).

    Returns:
        Without a standard error if one of the estimates has none.

    Raises:
        ValueError: no estimate.
    """

    def error(known: Sequence[tuple[float, float]]) -> tuple[float, float]:
        total = math.fsum(error**2 for error, _ in known)
        return math.sqrt(total) / len(known), total**2 / math.fsum(error**4 / df for error, df in known)

    return _mean_over(FixedMean, estimates, error, confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedMean(_MeanOver):
    """An average over datasets that may have anything in common."""

    def parts(self) -> tuple[MeanSquare, MeanSquare | None] | None:
        """Bounds of what varies between seeds and between cases: square of the mean of the roots, smallest df."""
        found = self.each()
        if found is None:
            return None
        cases = [case or MeanSquare(0.0, math.inf) for _, case in found]
        every = all(case is None for _, case in found)
        return _bound([seed for seed, _ in found]), None if every else _bound(cases)


def bounded_mean(estimates: Sequence[Estimate], confidence: float = 0.95) -> Estimate:
    """Average of one comparison over datasets of one source, whatever these have in common.

    The standard error of a mean is at most the mean of the standard errors (the triangle inequality), and so is the
    part that varies between seeds, and that between cases. These bounds are taken, with the smallest of the degrees of
    freedom. They are exact where the datasets are the same trainings on the same cases; of K datasets that are
    independent in truth they are sqrt(K) times too wide.

    Args:
        estimates: one a dataset.
        confidence: coverage in (0, 1).

    Returns:
        Without a standard error if one of the estimates has none.

    Raises:
        ValueError: no estimate.
    """

    def error(known: Sequence[tuple[float, float]]) -> tuple[float, float]:
        return math.fsum(error for error, _ in known) / len(known), min(df for _, df in known)

    return _mean_over(BoundedMean, estimates, error, confidence)


def _bound(parts: Sequence[MeanSquare]) -> MeanSquare:
    root = math.fsum(math.sqrt(part.variance) for part in parts) / len(parts)
    return MeanSquare(root**2, min(part.df for part in parts))


def source_means(values: Sequence[float], sources: Sequence[str]) -> FloatArray:
    """One number a source, shape (sources,), in the order of their first appearance: the mean over its datasets.

    Args:
        values: one a dataset.
        sources: of each.
    """
    return np.array([np.mean(own) for own in by_source(values, sources)])


def by_source(values: Sequence[Value], sources: Sequence[str]) -> list[list[Value]]:
    """The values of each source's datasets, in the order of the sources' first appearance.

    Args:
        values: one a dataset.
        sources: of each.

    Raises:
        ValueError: not a source for each.
    """
    found: dict[str, list[Value]] = {}
    for value, source in zip(values, sources, strict=True):
        found.setdefault(source, []).append(value)
    return list(found.values())


def _mean_over(
    kind: type[_MeanOver],
    estimates: Sequence[Estimate],
    error_of: Callable[[Sequence[tuple[float, float]]], tuple[float, float]],
    confidence: float,
) -> Estimate:
    """The average of estimates; without a standard error if one of them has none.

    Args:
        kind: what says which parts vary.
        estimates: at least one.
        error_of: standard error and degrees of freedom of the average, of those of each.
        confidence: coverage in (0, 1).
    """
    if not estimates:
        raise ValueError("needs at least one dataset")
    mean = math.fsum(one.estimate for one in estimates) / len(estimates)
    known = [(one.standard_error, one.df) for one in estimates if one.standard_error is not None and one.df is not None]
    cautions = tuple(dict.fromkeys(caution for one in estimates for caution in one.cautions))
    if len(known) < len(estimates):
        return with_interval(mean, None, None, confidence, "fixed_datasets", cautions)
    error, df = error_of(known)
    return with_ends(
        kind(
            estimate=mean,
            standard_error=error,
            df=df,
            confidence=confidence,
            low=None,
            high=None,
            scope="fixed_datasets",
            cautions=cautions,
            over=tuple(estimates),
        )
    )


def population_mean(differences: npt.ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean over datasets as a sample of all such datasets: Student's t over one mean difference a source.

    Args:
        differences: shape (sources,), the mean over seeds of each dataset, as ``source_means`` gives it; at least six.
        confidence: coverage in (0, 1).

    Raises:
        Refused: fewer than six datasets.
    """
    count = int(np.size(differences))
    refuse(few_datasets_for_population(count))
    found = mean_over_seeds(np.asarray(differences, dtype=np.float64), confidence, scope="datasets")
    said = (few_datasets(count), zero_variance() if found.standard_error is None else None)
    return replace(found, cautions=tuple(caution for caution in said if caution is not None))
