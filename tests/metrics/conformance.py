"""What every metric must hold to, a built-in one or a user's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.facts import MetricFacts
from harness.metrics.fitted import FittedMetric
from harness.metrics.metric import Metric
from harness.metrics.table import evaluate

Cases = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], bool]
"""Logits, labels, and whether the classes are in an order."""


def some_cases(metric: Metric, several: bool, rng: np.random.Generator, every_class: bool = False) -> Cases:
    """Random cases, now and then with a class that no case has."""
    n, classes = int(rng.integers(2, 60)), int(rng.integers(2, 6))
    # Multiples of a half, so that ties occur.
    logits = rng.integers(-8, 9, (n, classes)) / 2
    if several:
        labels = (rng.random((n, classes)) < rng.choice([0.05, 0.5])).astype(np.int64)
        if every_class:
            labels[0], labels[1] = 0, 1
        return logits, labels, False
    labels = rng.integers(0, classes, n)
    if every_class:
        logits = rng.integers(-8, 9, (n + classes, classes)) / 2
        labels = np.concatenate([np.arange(classes), labels])
    return logits, labels, metric.needs_order or bool(rng.integers(2))


def value_of(metric: Metric, cases: Cases) -> Any:
    logits, labels, ordinal = cases
    classes = logits.shape[1]
    # What validation cases decided: the same number whatever these cases are.
    numbers = [0.25] * (classes if labels.ndim == 2 else classes == 2)
    fitted = {metric.name: numbers} if isinstance(metric, FittedMetric) else None
    return evaluate(logits, labels, ordinal, (metric,), fitted)[metric.name]


def check(
    metric: Metric, several: bool, best: Callable[[Metric], float] | None = None, perfect_is_best: bool = True
) -> None:
    """Run a metric through all that holds for every metric.

    Args:
        metric: which.
        several: on cases with several labels each.
        best: what a perfect prediction scores; the better one of its bounds if None.
        perfect_is_best: whether a perfect prediction scores that, whatever the cases.
    """
    rng = np.random.default_rng(1)
    low, high = metric.bounds
    defined = 0
    for _ in range(60):
        logits, labels, ordinal = some_cases(metric, several, rng)
        value = value_of(metric, (logits, labels, ordinal))
        order = rng.permutation(len(labels))
        shuffled = value_of(metric, (logits[order], labels[order], ordinal))
        doubled = value_of(metric, (np.concatenate([logits, logits]), np.concatenate([labels, labels]), ordinal))
        if value is None:
            assert shuffled is None and doubled is None, "whether it is defined depends on the order or number of cases"
            continue
        defined += 1
        assert isinstance(value, float) and math.isfinite(value), value
        assert low - 1e-9 <= value <= high + 1e-9, value
        np.testing.assert_allclose([shuffled, doubled], [value, value], atol=1e-9)
    assert defined > 10, "hardly any cases define it"
    if perfect_is_best:
        logits, labels, ordinal = some_cases(metric, several, rng, every_class=True)
        truth = labels if several else np.eye(logits.shape[1])[labels]
        perfect = value_of(metric, (np.where(truth == 1, 400.0, -400.0), labels, ordinal))
        wanted = best(metric) if best is not None else (high if metric.higher_is_better else low)
        np.testing.assert_allclose(perfect, wanted, atol=1e-9)
    facts = metric.facts()
    kept = MetricFacts.told(facts.to_json())
    for name in ("name", "label", "phrase", "higher_is_better", "bounds", "compared", "sign", "direction", "in_text"):
        assert getattr(kept, name) == getattr(facts, name)
