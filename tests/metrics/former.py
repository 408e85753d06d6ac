"""``evaluate`` as it was before metrics were plugins, kept to compare with it bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.logits import sigmoid
from harness.metrics.parts import (
    FloatArray,
    IntArray,
    area_under_curve,
    calibration_error,
    kappa,
    matthews,
    mean,
    ratio,
)

_UNEQUAL = 1.0 - np.eye(2)


def former(logits: FloatArray, labels: IntArray, ordinal: bool = False) -> dict[str, Any]:
    if labels.ndim == 2:
        return _several(logits, labels)
    n, classes = logits.shape
    log_proba = _log_softmax(logits)
    proba = np.exp(log_proba)
    predicted = logits.argmax(axis=1)
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    support, called, hits = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    present = support > 0
    sensitivity = ratio(hits, support)
    aucs = [area_under_curve(proba[:, k], labels == k) for k in range(classes)]
    result: dict[str, Any] = {
        "accuracy": float(hits.sum() / n),
        "balanced_accuracy": mean(sensitivity),
        "auc": mean(aucs),
        "auc_per_class": aucs,
        "macro_f1": mean(ratio(np.where(present, 2 * hits, 0), np.where(present, support + called, 0))),
        "mcc": matthews(confusion),
        "kappa": kappa(confusion, 1.0 - np.eye(classes)),
        "nll": float(-log_proba[np.arange(n), labels].mean()),
        "brier": float(np.square(proba - np.eye(classes)[labels]).sum(axis=1).mean()),
        "ece": calibration_error(proba.max(axis=1), predicted == labels),
        "sensitivity": sensitivity,
        "specificity": ratio(n - support - called + hits, n - support),
        "confusion": confusion.tolist(),
        "support": support.tolist(),
    }
    if ordinal:
        step = np.arange(classes, dtype=np.float64)
        result["kappa_quadratic"] = kappa(confusion, np.square(step[:, None] - step[None, :]))
    return result


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _several(logits: FloatArray, labels: npt.NDArray[Any]) -> dict[str, Any]:
    borne, called, proba = labels == 1, logits > 0, sigmoid(logits)
    n, classes = logits.shape
    support, hits = borne.sum(axis=0), (borne & called).sum(axis=0)
    false_alarms = (~borne & called).sum(axis=0)
    rejections = n - support - false_alarms
    confusion = np.stack([rejections, false_alarms, support - hits, hits], axis=1).reshape(classes, 2, 2)
    # Kappa of a class that nobody or everybody bears is defined now and then, as the predictions happen to be.
    kappas = [
        kappa(table, _UNEQUAL) if 0 < count < n else None for table, count in zip(confusion, support, strict=True)
    ]
    sensitivity, specificity = ratio(hits, support), ratio(rejections, n - support)
    # On probabilities, logits above 37 would tie at 1.
    aucs = [area_under_curve(logits[:, k], borne[:, k]) for k in range(classes)]
    return {
        "accuracy": float((borne == called).mean()),
        "balanced_accuracy": mean([mean([*pair]) for pair in zip(sensitivity, specificity, strict=True)]),
        "auc": mean(aucs),
        "auc_per_class": aucs,
        "macro_f1": mean(_f1(hits, false_alarms, support)),
        "mcc": mean([matthews(table) for table in confusion]),
        "kappa": mean(kappas),
        "nll": float(np.logaddexp(0.0, np.where(borne, -logits, logits)).mean()),
        "brier": float(np.square(proba - borne).mean()),
        "ece": float(np.mean([calibration_error(proba[:, k], borne[:, k]) for k in range(classes)])),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "confusion": confusion.tolist(),
        "support": support.tolist(),
    }


def _f1(hits: npt.NDArray[Any], false_alarms: npt.NDArray[Any], support: npt.NDArray[Any]) -> list[float | None]:
    borne = support > 0
    return ratio(np.where(borne, 2 * hits, 0), np.where(borne, support + hits + false_alarms, 0))
