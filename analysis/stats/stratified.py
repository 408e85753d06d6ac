"""Aggregates over many datasets with intervals from resampled runs: the stratified bootstrap of Agarwal et al. 2021.

Runs are drawn with replacement within each dataset; datasets are not drawn, so the claim is about these datasets alone.
How often each run was drawn is counted once and serves every method, which pairs the methods. With the scores of a
method in order, a trimmed mean of a resample follows from running sums of these counts, without sorting any resample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import few_seeds_for_percentile, refuse
from analysis.stats.estimate import FloatArray, finite

Aggregate = Literal["mean", "interquartile_mean"]
BLOCK = 2**19
"""Counts at a time (a few such tables of 4 MiB)."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """One aggregate of each method, with its percentile interval; shapes (methods,)."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray


def stratified_intervals(
    scores: npt.ArrayLike,
    aggregates: Sequence[Aggregate] = ("mean", "interquartile_mean"),
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    rng_seed: int = 0,
) -> dict[Aggregate, Intervals]:
    """Percentile intervals of aggregates over all runs and datasets.

    Args:
        scores: shape (methods, runs, datasets), finite, at least 20 runs.
        aggregates: which. The interquartile mean is that of the middle half of all scores of a method; where a quarter
            of them is no whole number, the two scores at its edges count in part.
        confidence: coverage in (0, 1).
        resamples: how many.
        rng_seed: of the draws.

    Returns:
        By name of the aggregate.

    Raises:
        Refused: fewer than twenty runs.
        ValueError: another shape, a score that is not finite, a confidence outside (0, 1), or another aggregate.
    """
    table = finite(scores, 3)
    methods, runs, datasets = table.shape
    refuse(few_seeds_for_percentile(runs))
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(f"needs a confidence in (0, 1) and a resample, got {confidence} and {resamples}")
    formulas = {"mean": _means, "interquartile_mean": _interquartile_means}
    for name in aggregates:
        if name not in formulas:
            raise ValueError(f"no such aggregate {name!r}; known: {', '.join(formulas)}")
    # One column a dataset after the other, as the counts have them.
    flat = np.ascontiguousarray(table.transpose(0, 2, 1).reshape(methods, datasets * runs))
    drawn: dict[Aggregate, list[FloatArray]] = {name: [] for name in aggregates}
    for counts in _draws(np.random.default_rng(rng_seed), runs, datasets, resamples):
        for name in aggregates:
            drawn[name].append(formulas[name](flat, counts))
    once, ends = np.ones((datasets * runs, 1), np.int32), [(1 - confidence) / 2, (1 + confidence) / 2]
    result: dict[Aggregate, Intervals] = {}
    for name in aggregates:
        low, high = np.quantile(np.concatenate(drawn[name], axis=1), ends, axis=1)
        result[name] = Intervals(formulas[name](flat, once)[:, 0], low, high)
    return result


def _draws(rng: np.random.Generator, runs: int, datasets: int, resamples: int) -> Iterator[npt.NDArray[np.int32]]:
    """How often each run of each dataset was drawn, shape (datasets · runs, a part of the resamples)."""
    step = max(1, BLOCK // (runs * datasets))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = rng.integers(0, runs, size=(datasets, runs, count))
        drawn += np.arange(0, datasets * runs, runs)[:, None, None]
        drawn *= count
        drawn += np.arange(count)
        counts = np.bincount(drawn.ravel(), minlength=datasets * runs * count)
        yield counts.astype(np.int32).reshape(datasets * runs, count)


def _means(scores: FloatArray, counts: npt.NDArray[np.int32]) -> FloatArray:
    """Shape (methods, resamples), from scores (methods, n) and counts (n, resamples)."""
    result: FloatArray = scores @ counts.astype(np.float64) / scores.shape[1]
    return result


def _interquartile_means(scores: FloatArray, counts: npt.NDArray[np.int32]) -> FloatArray:
    """Likewise. With scores s ascending and running counts c, each cut to [n/4, 3n/4], the sum over the middle half is
    ``s_n 3n/4 - s_1 n/4 - Σ c_i (s_(i+1) - s_i)``, a sum by parts. Counts are in quarters, so that all are whole."""
    size = scores.shape[1]
    quarters = (4 * counts).astype(np.min_scalar_type(4 * size))
    result = np.empty((len(scores), counts.shape[1]))
    running = np.empty((size - 1, counts.shape[1]), quarters.dtype)
    for place, own in enumerate(scores):
        order = np.argsort(own)
        ordered = own[order]
        running[0] = quarters[order[0]]
        # Row by row: ``cumsum`` along the first axis is ten times slower.
        for row in range(1, size - 1):
            np.add(running[row - 1], quarters[order[row]], out=running[row])
        inside = np.clip(running, size, 3 * size).astype(np.float64)
        result[place] = (3 * size * ordered[-1] - size * ordered[0] - np.diff(ordered) @ inside) / (2 * size)
    return result
