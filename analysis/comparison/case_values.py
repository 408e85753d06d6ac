"""Each method's metrics as tables of seeds × cases, which is what intervals over both are made of."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from analysis.comparison.evidence import Predictions
from analysis.stats.bootstrap import (
    MetricOfWeights,
    crossed_resamples,
    together,
    weighted_calibration_error,
    weighted_confusion_metrics,
    weighted_mean,
)
from analysis.stats.estimate import FloatArray
from analysis.stats.pseudovalues import accuracy_values, auc_values, balanced_accuracy_values
from harness.metrics.cases import sigmoid, softmax
from harness.metrics.table import built_in

PSEUDOVALUE_METRICS = tuple(name for name, metric in built_in().items() if metric.interval == "two_way")
"""A mean over cases exactly, so that the two-way interval holds."""
CASE_MEANS = ("nll", "brier")
CONFUSION_METRICS = ("macro_f1", "mcc")
RESAMPLED_METRICS = tuple(name for name, metric in built_in().items() if metric.interval == "crossed_bootstrap")
"""Compared by the crossed bootstrap. Other metrics have only the narrower interval over seeds."""
RESAMPLES = 2000
"""The standard deviation of so many is known to 1.6 %."""


def pseudo_values(
    metric: str, logits: FloatArray, labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64] | None = None
) -> FloatArray:
    """A table whose mean over cases is the metric of each seed, exactly.

    With several labels an image it is the mean over the classes of the same for each class alone.

    Args:
        metric: of ``PSEUDOVALUE_METRICS``.
        logits: shape (seeds, cases, classes).
        labels: shape (cases,), or (cases, classes) of 0 and 1.
        groups: shape (cases,), the patient or lesion of each case; every case is its own if None.

    Returns:
        Shape (seeds, cases), float64.

    Raises:
        Refused: a class without a case, or with all of them, leaves the metric undefined.
        ValueError: shapes that do not fit, or a logit that is not finite.
    """
    if labels.ndim == 1:
        # One against the rest is not the same on logits, so the AUC of a trial is that of probabilities.
        return _of_classes(metric, _softmax(logits) if metric == "auc" else logits, labels, groups)
    single = [
        _of_classes(metric, np.stack([-logits[:, :, k], logits[:, :, k]], axis=-1), labels[:, k], groups)
        for k in range(labels.shape[1])
    ]
    result: FloatArray = np.mean(single, axis=0)
    return result


def _of_classes(
    metric: str, scores: FloatArray, labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64] | None
) -> FloatArray:
    if metric == "auc":
        return auc_values(scores, labels, groups)
    correct = scores.argmax(axis=2) == labels
    if metric == "accuracy":
        return accuracy_values(correct)
    return balanced_accuracy_values(correct, labels, scores.shape[2])


def resampled(
    metrics: Sequence[str],
    logits: Mapping[str, FloatArray],
    predictions: Predictions,
    dataset: str,
    resamples: int = RESAMPLES,
) -> dict[tuple[str, str], FloatArray]:
    """The mean over seeds of metrics in crossed resamples, the same draws for all methods.

    Args:
        metrics: of ``RESAMPLED_METRICS``; those that these labels leave undefined or that cannot be resampled are
            left out.
        logits: method → shape (seeds, cases, classes), as many seeds for each.
        predictions: of the dataset; they hold labels and groups.
        dataset: its name, from which the draws follow.
        resamples: how many.

    Returns:
        (metric, method) → shape (resamples + 1,), the value of the data themselves first.
    """
    wanted = [name for name in metrics if _can_resample(name, predictions)]
    if not wanted:
        return {}
    keys = [(name, method) for method in logits for name in _in_order(wanted)]
    seeds = {len(own) for own in logits.values()}
    series = crossed_resamples(
        together([part for own in logits.values() for part in _by_weights(wanted, own, predictions)]),
        seeds.pop(),
        predictions.cases,
        groups=predictions.groups,
        resamples=resamples,
        rng_seed=zlib.crc32(dataset.encode()),
    )
    return dict(zip(keys, series, strict=True))


def _can_resample(metric: str, predictions: Predictions) -> bool:
    """With several labels an image only means over cases; from a confusion matrix only with every class present."""
    if predictions.labels.ndim == 2:
        return metric in CASE_MEANS
    return metric in RESAMPLED_METRICS and (metric not in CONFUSION_METRICS or all(predictions.support.values()))


def _in_order(metrics: Sequence[str]) -> list[str]:
    """The order in which ``_by_weights`` gives them."""
    return [name for name in (*CASE_MEANS, "ece", *CONFUSION_METRICS) if name in metrics]


def _softmax(logits: FloatArray) -> FloatArray:
    seeds, cases, classes = logits.shape
    return softmax(logits.reshape(seeds * cases, classes)).reshape(logits.shape)


def _by_weights(metrics: Sequence[str], logits: FloatArray, predictions: Predictions) -> list[MetricOfWeights]:
    labels = predictions.labels
    found = [weighted_mean(_losses(name, logits, labels)) for name in CASE_MEANS if name in metrics]
    if labels.ndim == 2:
        return found
    predicted = logits.argmax(axis=2)
    if "ece" in metrics:
        found.append(weighted_calibration_error(_softmax(logits).max(axis=2), predicted == labels))
    names = [name for name in CONFUSION_METRICS if name in metrics]
    if names:
        found.append(weighted_confusion_metrics(predicted, labels, logits.shape[2], names))
    return found


def _losses(metric: str, logits: FloatArray, labels: npt.NDArray[np.int64]) -> FloatArray:
    """Shape (seeds, cases), as ``harness.metrics.builtin`` defines both metrics."""
    if labels.ndim == 2:
        if metric == "nll":
            return np.asarray(np.logaddexp(0.0, np.where(labels == 1, -logits, logits)).mean(axis=2))
        return np.asarray(np.square(sigmoid(logits) - labels).mean(axis=2))
    if metric == "nll":
        own = np.take_along_axis(logits, labels[None, :, None], axis=2)[:, :, 0]
        return np.asarray(logsumexp(logits, axis=2) - own)
    return np.asarray(np.square(_softmax(logits) - np.eye(logits.shape[2])[labels]).sum(axis=2))
