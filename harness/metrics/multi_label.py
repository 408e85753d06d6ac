"""Metrics where an image may bear several classes at once, or none.

Each class is a question of its own: does the image bear it? The answer is yes where the logit is positive, which
is a probability above one half. Every scalar metric is the unweighted mean over the classes of that metric of the
one class, so that a rare finding counts as much as a common one. ``accuracy`` and ``auc`` are so the ACC and AUC of
MedMNIST (Yang et al. 2023) for multi-label sets.

A class that no case bears, or that every case bears, leaves undefined (None) what compares the two: ``auc``,
``balanced_accuracy``, ``mcc``, ``kappa``, and, where no case bears it, ``macro_f1``. There is no mean over the other
classes then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.parts import (
    FloatArray,
    area_under_curve,
    calibration_error,
    check_logits,
    kappa,
    matthews,
    mean,
    ratio,
)

_UNEQUAL = 1.0 - np.eye(2)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Probabilities, float64, of the shape of ``logits``; nothing overflows."""
    result: FloatArray = np.exp(-np.logaddexp(0.0, -logits))
    return result


def evaluate_multi_label(logits: FloatArray, labels: npt.NDArray[Any]) -> dict[str, Any]:
    """Every metric of a set of cases, as plain numbers, lists and None.

    - ``accuracy``; ``balanced_accuracy``: (sensitivity + specificity) / 2; ``macro_f1``: F1 of bearing the class;
      ``mcc``: Matthews 1975, 0 for a constant prediction; ``kappa``: Cohen 1960.
    - ``auc``: ROC AUC, ties by midranks; ``auc_per_class``.
    - ``nll``: binary cross-entropy in nats; ``brier``: (p - y)², in [0, 1].
    - ``ece``: 15 bins of equal width over the probability of bearing the class, against how often it is borne.
    - ``sensitivity``, ``specificity``, ``support`` (cases that bear the class): lists over classes; ``confusion``: for
      each class [[true negatives, false positives], [false negatives, true positives]].

    Args:
        logits: float64, shape (n, classes), finite.
        labels: whole numbers, shape (n, classes), 0 and 1.

    Raises:
        ValueError: wrong shapes, no case, a label that is neither 0 nor 1, a logit not finite.
    """
    check_logits(logits, fewest_classes=1)
    if labels.shape != logits.shape or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels need whole numbers of shape {logits.shape}, got {labels.dtype} of {labels.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {labels.min()} to {labels.max()}")
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
