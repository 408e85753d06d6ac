"""The one table of metrics, and the metrics of one set of predictions.

A value that the cases do not define is None: a class without a case has no sensitivity and no AUC, and then
there is no mean over classes either. Averages over the classes that happen to be present are not comparable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.core.errors import RequestError, suggestion
from harness.core.pluggable import modules_in, plugins_in
from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.facts import MetricFacts, MetricRecord
from harness.metrics.fitted import Fitted, FittedMetric, fit_metrics
from harness.metrics.metric import COUNTS, PER_CLASS, Metric
from harness.metrics.parts import FloatArray, IntArray

DEFAULT = "balanced_accuracy"
"""What is primary where nothing else is said."""
ROUNDING = 1e-9
"""By how much rounding may carry a value over a bound."""


@cache
def built_in() -> Mapping[str, Metric]:
    """Every built-in metric by name, in the order of tables: what every trial computes, and what a sweep asks for."""
    found = [cls for module in modules_in("harness.metrics.builtin") for cls in plugins_in(module)]
    metrics = sorted((cls() for cls in found if issubclass(cls, Metric)), key=_in_order)
    return MappingProxyType({metric.name: metric for metric in metrics})


@cache
def standard() -> Mapping[str, Metric]:
    """The built-in metrics that every trial computes, by name, in the order of tables."""
    return MappingProxyType({name: metric for name, metric in built_in().items() if not metric.on_request})


@cache
def known_by_case() -> Mapping[str, Metric]:
    """The built-in metrics that a report computes for each case, by name, in the order of tables."""
    return MappingProxyType({name: metric for name, metric in built_in().items() if metric.by_case})


def general() -> tuple[str, ...]:
    """Names of the metrics of every trial that need no order of the classes."""
    return tuple(name for name, metric in standard().items() if not metric.needs_order)


@cache
def _said() -> Mapping[str, MetricFacts]:
    return MappingProxyType({name: metric.facts() for name, metric in built_in().items()})


def facts_with(name: str, further: Iterable[Metric]) -> MetricFacts:
    """What is said of a metric that is built in or one of ``further``; its name was checked before."""
    own = {metric.name: metric for metric in further}
    return own[name].facts() if name in own else _said()[name]


def known_metrics(told: Iterable[MetricRecord] = ()) -> dict[str, MetricFacts]:
    """What is said of every metric that trials have, by name, in the order of tables.

    Args:
        told: of metrics that not every trial computes, as ``study.json`` has them.
    """
    said = _said()
    own = sorted((said.get(record["name"]) or MetricFacts.told(record) for record in told), key=lambda one: one.name)
    return {name: said[name] for name in standard()} | {one.name: one for one in own if one.name not in standard()}


def facts_of(name: str, known: Mapping[str, MetricFacts], place: str) -> MetricFacts:
    """What is said of one metric.

    Args:
        name: its name.
        known: what ``known_metrics`` returned.
        place: where the name was read, as the message begins.

    Raises:
        RequestError: there is none of that name.
    """
    if name not in known:
        raise RequestError(f"{place}: no such metric {name!r}{suggestion(name, known)}")
    return known[name]


def fit_on_validation(logits: FloatArray, labels: IntArray, further: Sequence[Metric]) -> dict[str, list[float | None]]:
    """What the validation cases of a training decide for metrics that need it, such as a threshold, by name.

    Args:
        logits: of the validation cases and no others, as for ``evaluate``.
        labels: likewise.
        further: metrics that not every trial computes.
    """
    needed = [metric for metric in further if isinstance(metric, FittedMetric)]
    return fit_metrics(needed, _cases(logits, labels)) if needed else {}


def evaluate(
    logits: FloatArray,
    labels: IntArray,
    ordinal: bool = False,
    further: Sequence[Metric] = (),
    fitted: Fitted | None = None,
) -> dict[str, Any]:
    """Every metric of a set of cases, as plain numbers, lists and None.

    The keys are names of metrics (``harness.metrics.builtin`` defines them) and ``auc_per_class``, and ``sensitivity``,
    ``specificity``, ``support``: lists over classes; ``confusion``: with one label an image rows are true classes,
    columns predicted ones; with several there is a table of two rows and two columns for each class.

    Args:
        logits: float64, shape (n, classes), finite.
        labels: int64, shape (n,), in [0, classes); or shape (n, classes), 0 and 1.
        ordinal: whether the order of the classes means something; not with several labels an image.
        further: metrics that not every trial computes: a plugin's, and built-in ones that a sweep asks for.
        fitted: what ``fit_on_validation`` returned of the same training, for metrics that need it.

    Raises:
        ValueError: wrong shapes, no case, fewer than two classes, a label out of range, a logit not finite; a further
            metric gives what is no value of it; or one needs what validation cases decide, and ``fitted`` lacks it.
    """
    cases = _cases(logits, labels, ordinal)
    metrics = standard().values()
    result = _values((metric for metric in metrics if not metric.needs_order), cases)
    result |= {name: _plain(getattr(cases, name)) for name in COUNTS}
    result |= _values((metric for metric in metrics if metric.needs_order), cases)
    return result | _values(sorted(further, key=_in_order), cases, fitted or {})


def _cases(logits: FloatArray, labels: IntArray, ordinal: bool = False) -> ScoredCases | MultiLabelCases:
    # A table's columns lie in another order in memory, and sums would differ in their last digit.
    logits, labels = np.ascontiguousarray(logits, dtype=np.float64), np.ascontiguousarray(labels)
    if labels.ndim == 1:
        return ScoredCases(logits, labels, ordinal)
    if ordinal:
        raise ValueError("classes of which an image bears several have no order")
    return MultiLabelCases(logits, labels)


def _values(
    metrics: Iterable[Metric], cases: ScoredCases | MultiLabelCases, fitted: Fitted | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in metrics:
        if isinstance(metric, FittedMetric):
            if fitted is None or metric.name not in fitted:
                raise ValueError(f"the metric {metric.name!r} needs what the validation cases of its training decided")
            found[metric.name] = _checked(metric, metric.value_with(cases, fitted[metric.name]))
        elif isinstance(cases, MultiLabelCases):
            if not metric.multi_label:
                continue
            found[metric.name] = _checked(metric, metric.multi_label_value(cases))
        elif cases.ordinal or not metric.needs_order:
            found[metric.name] = _checked(metric, metric.value(cases))
        by_class = metric.per_class(cases)
        if by_class is not None:
            found[f"{metric.name}{PER_CLASS}"] = by_class
    return found


def _checked(metric: Metric, value: Any) -> float | None:
    """A value as a plain number; a metric that is none or out of its bounds is a mistake in its code."""
    if value is None:
        return None
    low, high = metric.bounds
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise ValueError(f"the metric {metric.name!r} gave {value!r}; give a finite number, or None where it has none")
    if not low - ROUNDING <= value <= high + ROUNDING:
        raise ValueError(f"the metric {metric.name!r} gave {value!r}, outside its bounds {metric.bounds}")
    return float(value)


def _in_order(metric: Metric) -> tuple[int, str]:
    return metric.place, metric.name


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
