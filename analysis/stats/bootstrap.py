"""Resampling, for metrics that are no mean over cases.

Weights stand for resamples: how often each seed and each case was drawn, so that a metric of all resamples is one
product of matrices. Calls with the same ``rng_seed``, seeds, cases and groups draw the same resamples, which pairs
the methods that are compared; give each dataset a seed of its own, or resamples of datasets would move together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import (
    Refused,
    conservative_bootstrap,
    few_seeds_for_percentile,
    refuse,
    undefined_resamples,
    zero_variance,
)
from analysis.stats.estimate import Estimate, FloatArray, finite, with_interval

MetricOfWeights = Callable[[FloatArray], FloatArray]
"""Case weights, shape (resamples, cases) → metric of each resample and seed, shape (…, resamples, seeds), nan where
the metric is not defined; the axes before are those of several metrics or methods at once."""

CHUNK = 2**21
"""Case weights at a time (16 MiB)."""


def crossed_resamples(
    metric: MetricOfWeights,
    seeds: int,
    cases: int,
    *,
    groups: npt.NDArray[np.int64] | None = None,
    resamples: int = 10_000,
    rng_seed: int = 0,
) -> FloatArray:
    """Mean over seeds of a metric in resamples of both seeds and cases (Owen 2007).

    Args:
        metric: of all seeds at once, by case weights.
        seeds, cases: how many there are.
        groups: shape (cases,), the patient or lesion of each case as whole numbers from 0 without gaps; whole groups
            are then drawn.
        resamples: how many.
        rng_seed: of the draws.

    Returns:
        Shape (…, resamples + 1): first the value of the data themselves, then one a resample.
    """
    rng = np.random.default_rng(rng_seed)
    units = cases if groups is None else int(groups.max()) + 1
    values = [np.asarray(metric(np.ones((1, cases)))).mean(axis=-1)]
    step = max(1, CHUNK // cases)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        case_weights = _weights(rng, count, units)
        seed_weights = _weights(rng, count, seeds)
        weights = case_weights if groups is None else case_weights[:, groups]
        # A seed that was not drawn does not spoil a resample in which its own value is undefined.
        scores = np.where(seed_weights > 0, metric(weights), 0.0)
        values.append((scores * seed_weights).sum(axis=-1) / seeds)
    return np.concatenate(values, axis=-1)


def crossed_interval(first: FloatArray, second: FloatArray, seeds: int, confidence: float = 0.95) -> Estimate:
    """Interval of the difference of two methods' ``crossed_resamples``; conservative.

    ``estimate ± t(S - 1) SE sqrt(S / (S - 1))`` with the standard deviation SE of the resamples. The factors make up
    for the seeds, whose spread resampling understates where they are few: percentiles covered 92 in 100 instead of 95
    with 5 seeds (macro-F1, ``benchmarks/calibration.py``). Resampling counts the interaction of seeds and cases three
    times (Owen 2007), which makes the interval wide where that prevails.

    Args:
        first, second: shape (resamples + 1,), from the same draws.
        seeds: S, how many the resamples were drawn from.
        confidence: coverage in (0, 1).

    Returns:
        Without a standard error where all resamples agree.

    Raises:
        Refused: more than one resample in twenty leaves the metric undefined.
        ValueError: different lengths, fewer than two seeds, or a metric that the data themselves leave undefined.
    """
    if first.shape != second.shape or first.ndim != 1 or len(first) < 3 or seeds < 2:
        raise ValueError(
            f"needs two seeds and two series of the same draws, got {seeds}, {first.shape}, {second.shape}"
        )
    differences = first - second
    if not math.isfinite(differences[0]):
        raise ValueError("the metric is not defined on these data")
    drawn = differences[1:]
    defined = drawn[np.isfinite(drawn)]
    undefined = undefined_resamples(len(drawn) - len(defined), len(drawn))
    if undefined is not None and len(defined) < 0.95 * len(drawn):
        raise Refused(undefined)
    error = float(defined.std(ddof=1)) * math.sqrt(seeds / (seeds - 1))
    estimate = float(differences[0])
    spread = error > 1e-12 * max(1.0, abs(estimate))
    said = (conservative_bootstrap(), undefined, None if spread else zero_variance())
    return with_interval(estimate, error if spread else None, seeds - 1.0, confidence, "seeds_and_cases", said)


def seed_percentile_interval(
    values: npt.ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, rng_seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a mean over seeds: its lower and upper end.

    Args:
        values: shape (n,), one a seed, n ≥ 20.
        confidence: coverage in (0, 1).
        resamples: how many.
        rng_seed: of the draws.

    Raises:
        Refused: fewer than twenty seeds.
        ValueError: a value that is not finite, or a confidence outside (0, 1).
    """
    refuse(few_seeds_for_percentile(np.size(values)))
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    scores = finite(values, 1)
    means = _weights(np.random.default_rng(rng_seed), resamples, len(scores)) @ scores / len(scores)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def weighted_mean(losses: npt.ArrayLike) -> MetricOfWeights:
    """A metric that is a mean over cases: negative log-likelihood, Brier score, accuracy.

    Args:
        losses: shape (seeds, cases).
    """
    values = np.ascontiguousarray(finite(losses, 2).T)
    return lambda weights: (weights @ values) / weights.sum(axis=1, keepdims=True)


def weighted_confusion_metric(
    predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: int, name: str
) -> MetricOfWeights:
    """``weighted_confusion_metrics`` of one metric, without its axis."""
    metric = weighted_confusion_metrics(predicted, labels, classes, (name,))
    return lambda weights: metric(weights)[0]


def weighted_confusion_metrics(
    predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], classes: int, names: Sequence[str]
) -> MetricOfWeights:
    """``macro_f1`` and ``mcc`` (R_K of Gorodkin 2004, 0 for a constant prediction) by case weights.

    Args:
        predicted: shape (seeds, cases), in [0, classes).
        labels: shape (cases,), in [0, classes).
        classes: their fixed number.
        names: which; the metrics' axis is in this order.

    Returns:
        A metric that is nan where a class has no case (``macro_f1``) or one class has all of them (``mcc``).

    Raises:
        ValueError: another name.
    """
    formulas = {"macro_f1": _macro_f1, "mcc": _matthews}
    for name in names:
        if name not in formulas:
            raise ValueError(f"no such metric {name!r}; known: {', '.join(formulas)}")
    seeds, cases = predicted.shape
    member = np.eye(classes, dtype=np.float32)
    own = member[labels]
    called = member[predicted.T]
    # Counts are whole numbers, which float32 holds exactly up to 16 million.
    columns = np.concatenate([called, called * own[:, None]], axis=1).reshape(cases, 2 * seeds * classes)

    def metric(weights: FloatArray) -> FloatArray:
        exact = weights.astype(np.float32)
        support = (exact @ own).astype(np.float64)[:, None]
        counts = (exact @ columns).astype(np.float64).reshape(len(weights), 2, seeds, classes)
        return np.stack([formulas[name](support, counts[:, 0], counts[:, 1]) for name in names])

    return metric


def weighted_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15) -> MetricOfWeights:
    """Expected calibration error by case weights: bins of equal width, the last one closed on both sides.

    Args:
        confidence: shape (seeds, cases), probability of the predicted class, in [0, 1].
        correct: shape (seeds, cases), whether it was right.
        bins: how many.
    """
    probability, occurred = finite(confidence, 2), finite(correct, 2)
    seeds, cases = probability.shape
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    columns = np.zeros((cases, seeds, bins))
    columns[np.arange(cases)[:, None], np.arange(seeds), place.T] = (occurred - probability).T
    # The lowest bins are empty: with K classes no confidence is below 1 / K.
    columns = columns[:, :, columns.any(axis=(0, 1))]
    used = columns.reshape(cases, -1)

    def metric(weights: FloatArray) -> FloatArray:
        sums = np.abs(weights @ used).reshape(len(weights), *columns.shape[1:]).sum(axis=2)
        result: FloatArray = sums / weights.sum(axis=1, keepdims=True)
        return result

    return metric


def together(metrics: Sequence[MetricOfWeights]) -> MetricOfWeights:
    """Several metrics with the same draws, one after the other on one axis."""

    def metric(weights: FloatArray) -> FloatArray:
        parts = [np.asarray(one(weights)) for one in metrics]
        return np.concatenate([part.reshape(-1, *part.shape[-2:]) for part in parts])

    return metric


def _weights(rng: np.random.Generator, resamples: int, units: int) -> FloatArray:
    """How often each of so many units was drawn, shape (resamples, units); each row sums to ``units``."""
    drawn = rng.integers(0, units, size=(resamples, units))
    drawn += np.arange(0, resamples * units, units)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units).astype(np.float64)


def _macro_f1(support: FloatArray, called: FloatArray, hits: FloatArray) -> FloatArray:
    f1 = np.where(support > 0, 2 * hits / np.maximum(support + called, 1e-300), np.nan)
    result: FloatArray = f1.mean(axis=-1)
    return result


def _matthews(support: FloatArray, called: FloatArray, hits: FloatArray) -> FloatArray:
    n = support.sum(axis=-1)
    spread_true, spread_called = n**2 - np.square(support).sum(axis=-1), n**2 - np.square(called).sum(axis=-1)
    product = n * hits.sum(axis=-1) - (support * called).sum(axis=-1)
    # A constant prediction makes the product exactly 0, and so the quotient.
    value = product / np.sqrt(np.maximum(spread_true * spread_called, 1e-300))
    return np.where(spread_true > 0, value, np.nan)
