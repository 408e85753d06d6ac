"""Metrics of one set of predictions, over a fixed list of classes.

A value that the cases do not define is None: a class without a case has no sensitivity and no AUC, and then
there is no mean over classes either. Averages over the classes that happen to be present are not comparable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.multi_label import evaluate_multi_label
from harness.metrics.parts import (
    FloatArray,
    IntArray,
    area_under_curve,
    calibration_error,
    check_logits,
    kappa,
    matthews,
    mean,
    ratio,
)

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


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities, float64, shape (n, classes); rows sum to 1 and nothing overflows."""
    return np.exp(_log_softmax(logits))


def evaluate(logits: FloatArray, labels: IntArray, ordinal: bool = False) -> dict[str, Any]:
    """Every metric of a set of cases, as plain numbers, lists and None.

    With several labels an image (``labels`` of two axes) this is ``harness.metrics.multi_label``, with the same
    keys. With one label the prediction is the class of the largest logit, the first among equals.

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
        labels: int64, shape (n,), in [0, classes); or shape (n, classes), 0 and 1.
        ordinal: whether the order of the classes means something; not with several labels an image.

    Raises:
        ValueError: wrong shapes, no case, fewer than two classes, a label out of range, a logit not finite.
    """
    # A table's columns lie in another order in memory, and sums would differ in their last digit.
    logits, labels = np.ascontiguousarray(logits, dtype=np.float64), np.ascontiguousarray(labels)
    if labels.ndim == 2:
        if ordinal:
            raise ValueError("classes of which an image bears several have no order")
        return evaluate_multi_label(logits, labels)
    _check(logits, labels)
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


def _check(logits: FloatArray, labels: npt.NDArray[Any]) -> None:
    check_logits(logits, fewest_classes=2)
    if labels.shape != logits.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels need {len(logits)} whole numbers, got {labels.dtype} of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels must lie in [0, {logits.shape[1]}), got {labels.min()} to {labels.max()}")
