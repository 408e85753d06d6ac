"""Metrics of one set of predictions, over a fixed list of classes.

A value that the cases do not define is None: a class without a case has no sensitivity and no AUC, and then
there is no mean over classes either. Averages over the classes that happen to be present are not comparable.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

METRICS: dict[str, bool] = {
    "accuracy": True,
    "balanced_accuracy": True,
    "auc": True,
    "macro_f1": True,
    "mcc": True,
    "kappa": True,
    "kappa_quadratic": True,
    "nll": False,
    "brier": False,
    "ece": False,
}
"""Scalar metrics → whether higher is better. ``kappa_quadratic`` exists for ordinal classes only."""

ECE_BINS = 15


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities, float64, shape (n, classes); rows sum to 1 and nothing overflows."""
    return np.exp(_log_softmax(logits))


def evaluate(logits: FloatArray, labels: IntArray, ordinal: bool = False) -> dict[str, Any]:
    """Every metric of a set of cases, as plain numbers, lists and None.

    The prediction is the class of the largest logit, the first among equals.

    - ``accuracy``; ``balanced_accuracy``: mean sensitivity; ``macro_f1``: mean F1.
    - ``auc``: mean over classes of the one-versus-rest ROC AUC on softmax probabilities, ties by midranks;
      ``auc_per_class``.
    - ``mcc``: R_K of Gorodkin 2004, 0 for a constant prediction; ``kappa``: Cohen 1960; ``kappa_quadratic``:
      Cohen 1968 with weights (i - j)², only with ``ordinal``.
    - ``nll``: mean negative log-likelihood in nats; ``brier``: mean over cases of the squared errors summed
      over classes, in [0, 2].
    - ``ece``: Guo et al. 2017, 15 bins of equal width over the confidence, closed on the left, the last one
      on both sides.
    - ``sensitivity``, ``specificity``, ``support``: lists over classes; ``confusion``: rows are true classes,
      columns predicted ones.

    Args:
        logits: float64, shape (n, classes), finite.
        labels: int64, shape (n,), in [0, classes).
        ordinal: whether the order of the classes means something.

    Raises:
        ValueError: wrong shapes, no case, fewer than two classes, a label out of range, a logit not finite.
    """
    logits = np.asarray(logits, dtype=np.float64)
    labels = np.asarray(labels)
    _check(logits, labels)
    n, classes = logits.shape
    log_proba = _log_softmax(logits)
    proba = np.exp(log_proba)
    predicted = logits.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    support, called, hits = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    present = support > 0
    sensitivity = _ratio(hits, support)
    aucs = [_auc(proba[:, k], labels == k) for k in range(classes)]
    result: dict[str, Any] = {
        "accuracy": float(hits.sum() / n),
        "balanced_accuracy": _mean(sensitivity),
        "auc": _mean(aucs),
        "auc_per_class": aucs,
        "macro_f1": _mean(_ratio(np.where(present, 2 * hits, 0), np.where(present, support + called, 0))),
        "mcc": _mcc(confusion),
        "kappa": _kappa(confusion, 1.0 - np.eye(classes)),
        "nll": float(-log_proba[np.arange(n), labels].mean()),
        "brier": float(np.square(proba - np.eye(classes)[labels]).sum(axis=1).mean()),
        "ece": _ece(proba.max(axis=1), predicted == labels),
        "sensitivity": sensitivity,
        "specificity": _ratio(n - support - called + hits, n - support),
        "confusion": confusion.tolist(),
        "support": support.tolist(),
    }
    if ordinal:
        step = np.arange(classes, dtype=np.float64)
        result["kappa_quadratic"] = _kappa(confusion, np.square(step[:, None] - step[None, :]))
    return result


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _check(logits: FloatArray, labels: npt.NDArray[Any]) -> None:
    if logits.ndim != 2 or logits.shape[1] < 2 or logits.shape[0] == 0:
        raise ValueError(f"logits need shape (cases, classes) with a case and two classes, got {logits.shape}")
    if labels.shape != logits.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels need {len(logits)} whole numbers, got {labels.dtype} of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels must lie in [0, {logits.shape[1]}), got {labels.min()} to {labels.max()}")
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")


def _auc(score: FloatArray, positive: npt.NDArray[np.bool_]) -> float | None:
    n1 = int(positive.sum())
    n0 = len(score) - n1
    if n1 == 0 or n0 == 0:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    midranks = np.cumsum(counts) - (counts - 1) / 2
    return float((midranks[place][positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def _mcc(confusion: IntArray) -> float | None:
    table = confusion.astype(np.float64)
    n, hits, support, called = table.sum(), np.trace(table), table.sum(axis=1), table.sum(axis=0)
    spread_true, spread_called = n**2 - support @ support, n**2 - called @ called
    if spread_true == 0:
        return None
    if spread_called == 0:
        return 0.0
    return float((hits * n - support @ called) / math.sqrt(spread_true * spread_called))


def _kappa(confusion: IntArray, weights: FloatArray) -> float | None:
    table = confusion.astype(np.float64)
    expected = float((weights * np.outer(table.sum(axis=1), table.sum(axis=0))).sum() / table.sum())
    return None if expected == 0 else 1.0 - float((weights * table).sum()) / expected


def _ece(confidence: FloatArray, correct: npt.NDArray[np.bool_]) -> float:
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _ratio(numerator: IntArray, denominator: IntArray) -> list[float | None]:
    pairs = zip(numerator.tolist(), denominator.tolist(), strict=True)
    return [a / b if b else None for a, b in pairs]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None
