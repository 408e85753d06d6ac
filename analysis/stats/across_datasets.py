"""Several datasets: the average over exactly these, and, where there are enough, a claim about new ones.

Datasets of one source share patients, so that they are not independent. They are averaged first, and the source counts
once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import Caution, few_datasets, few_datasets_for_population, refuse, zero_variance
from analysis.stats.estimate import Estimate, FloatArray, mean_over_seeds, with_interval

Value = TypeVar("Value")


def fixed_dataset_mean(estimates: Sequence[Estimate], confidence: float = 0.95) -> Estimate:
    """Unweighted average of one comparison over datasets that were tried, to be worded so.

    The datasets are independent, so the variance is ``sum(var_d) / D²`` with Satterthwaite's degrees of freedom
    ``sum(var_d)² / sum(var_d² / df_d)`` (Biometrics Bulletin 2, 1946).

    Args:
        estimates: one a source: of one dataset, or of the mean over several.
        confidence: coverage in (0, 1).

    Returns:
        Without a standard error if one of the estimates has none.

    Raises:
        ValueError: no estimate.
    """
    count, mean, known, cautions = _parts(estimates)
    if len(known) < count:
        return with_interval(mean, None, None, confidence, "fixed_datasets", cautions)
    total = math.fsum(error**2 for error, _ in known)
    df = total**2 / math.fsum(error**4 / df for error, df in known)
    return with_interval(mean, math.sqrt(total) / count, df, confidence, "fixed_datasets", cautions)


def bounded_mean(estimates: Sequence[Estimate], confidence: float = 0.95) -> Estimate:
    """Average of one comparison over datasets of one source, whatever these have in common.

    The standard error of a mean is at most the mean of the standard errors (the triangle inequality). That bound is
    taken, with the smallest of the degrees of freedom. It is exact where the datasets are the same trainings on the
    same cases; of K datasets that are independent in truth it is sqrt(K) times too wide.

    Args:
        estimates: one a dataset.
        confidence: coverage in (0, 1).

    Returns:
        Without a standard error if one of the estimates has none.

    Raises:
        ValueError: no estimate.
    """
    count, mean, known, cautions = _parts(estimates)
    if len(known) < count:
        return with_interval(mean, None, None, confidence, "fixed_datasets", cautions)
    error = math.fsum(error for error, _ in known) / count
    return with_interval(mean, error, min(df for _, df in known), confidence, "fixed_datasets", cautions)


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


def _parts(
    estimates: Sequence[Estimate],
) -> tuple[int, float, list[tuple[float, float]], tuple[Caution, ...]]:
    """How many there are, their mean, standard error and degrees of freedom of those that have them, all cautions."""
    if not estimates:
        raise ValueError("needs at least one dataset")
    count = len(estimates)
    known = [(one.standard_error, one.df) for one in estimates if one.standard_error is not None and one.df is not None]
    cautions = tuple(dict.fromkeys(caution for entry in estimates for caution in entry.cautions))
    return count, math.fsum(entry.estimate for entry in estimates) / count, known, cautions


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
