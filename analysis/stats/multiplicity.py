"""p values of a family of tests, corrected for its size."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.stats.estimate import FloatArray, finite

Correction = Literal["holm", "bonferroni", "none"]


def adjust(p_values: npt.ArrayLike, correction: Correction = "holm", family: int | None = None) -> FloatArray:
    """Corrected p values in the order given.

    ``holm``: in ascending order the k-th (from 0) times m - k, made monotone, at most 1 (Holm, Scand. J. Statist. 6,
    1979); it rejects nothing after the first test that it does not reject. ``bonferroni``: each times m.

    Args:
        p_values: shape (n,), in [0, 1]; may be empty.
        correction: which.
        family: m, the number of tests that were declared, if more than are given: the others count as not rejected.

    Raises:
        ValueError: a p value outside [0, 1], or a family smaller than the number of p values.
    """
    if np.size(p_values) == 0:
        return np.zeros(0)
    p = finite(p_values, 1)
    if (p < 0).any() or (p > 1).any():
        raise ValueError("p values lie in [0, 1]")
    m = len(p) if family is None else family
    if m < len(p):
        raise ValueError(f"a family of {m} cannot hold {len(p)} tests")
    if correction == "none":
        return p.copy()
    if correction == "bonferroni":
        return np.minimum(1.0, p * m)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (m - np.arange(len(p))))
    result = np.empty_like(p)
    result[order] = np.minimum(1.0, steps)
    return result


def family_size(methods: int, family: Literal["vs_control", "all_pairs"], datasets: int = 1) -> int:
    """How many comparisons so many methods (the control among them) make on so many datasets.

    Raises:
        ValueError: fewer than two methods or no dataset.
    """
    if methods < 2 or datasets < 1:
        raise ValueError(f"needs two methods and a dataset, got {methods} and {datasets}")
    return datasets * (methods - 1 if family == "vs_control" else methods * (methods - 1) // 2)


def claims_size(methods: int, family: Literal["vs_control", "all_pairs"], datasets: int) -> int:
    """How many claims a report makes: the comparisons on each dataset, and where there are several their averages.

    All stand in one table, so they are one family: corrected apart, a table of true null hypotheses held a false claim
    in 6.6 sweeps of 100 instead of 5 (1,750 simulated ones).

    Raises:
        ValueError: fewer than two methods or no dataset.
    """
    return family_size(methods, family, datasets) + (family_size(methods, family) if datasets > 1 else 0)
