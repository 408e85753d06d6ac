"""Logits and labels of a set of cases, as one training predicts them or several do, and what follows from single ones.

Axes of the logits are trainings, where there are several, cases, and classes; results are computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.parts import FloatArray, IntArray


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities, float64, shape (…, classes); those of a case sum to 1 and nothing overflows."""
    return np.exp(log_softmax(logits))


def log_softmax(logits: FloatArray) -> FloatArray:
    """Logarithms of ``softmax``, which are finite where it is 0."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def sigmoid(logits: FloatArray) -> FloatArray:
    """Probabilities, float64, of the shape of ``logits``; nothing overflows."""
    result: FloatArray = np.exp(-np.logaddexp(0.0, -logits))
    return result


class OneLabelEach:
    """Cases with one label each. The prediction is the class of the largest logit, the first among equals.

    Args:
        logits: float64, finite.
        labels: whole numbers, shape (cases,), in [0, classes).
        axes: names of the logits' axes.

    Raises:
        ValueError: wrong shapes, no case, fewer than two classes, a label out of range, a logit not finite.
    """

    def __init__(self, logits: FloatArray, labels: IntArray, axes: Sequence[str]) -> None:
        _check(logits, labels, axes, label_axes=1)
        classes = logits.shape[-1]
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"labels must lie in [0, {classes}), got {labels.min()} to {labels.max()}")
        self.logits, self.labels = logits, labels
        self.cases, self.classes = logits.shape[-2:]

    @cached_property
    def log_probabilities(self) -> FloatArray:
        """Of the softmax, float64, of the shape of the logits."""
        return log_softmax(self.logits)

    @cached_property
    def probabilities(self) -> FloatArray:
        """Softmax, float64, of the shape of the logits."""
        return np.exp(self.log_probabilities)

    @cached_property
    def predicted(self) -> IntArray:
        """Predicted class of each case, of the shape of the logits without classes."""
        result: IntArray = self.logits.argmax(axis=-1)
        return result


class SeveralLabelsEach:
    """Cases that may have several labels at once, or none: each class is a question of its own.

    The answer is yes where the logit is positive, which is a probability above one half.

    Args:
        logits: float64, finite.
        labels: whole numbers, shape (cases, classes), 0 and 1.
        axes: names of the logits' axes.

    Raises:
        ValueError: wrong shapes, no case, a label that is neither 0 nor 1, a logit not finite.
    """

    def __init__(self, logits: FloatArray, labels: npt.NDArray[Any], axes: Sequence[str]) -> None:
        _check(logits, labels, axes, label_axes=2)
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"labels must be 0 or 1, got {labels.min()} to {labels.max()}")
        self.logits, self.labels = logits, labels
        self.cases, self.classes = logits.shape[-2:]

    def two_classes(self) -> Iterator[tuple[FloatArray, IntArray]]:
        """Logits and labels of each class alone, as cases with one of two labels: 0 without it, 1 with it."""
        zeros = np.zeros(self.logits.shape[:-1])
        for k in range(self.classes):
            yield np.stack([zeros, self.logits[..., k]], axis=-1), self.labels[:, k].astype(np.int64)

    @cached_property
    def actual(self) -> npt.NDArray[np.bool_]:
        """Whether each case has each label, shape (cases, classes)."""
        result: npt.NDArray[np.bool_] = self.labels == 1
        return result

    @cached_property
    def predicted(self) -> npt.NDArray[np.bool_]:
        """Whether each case is predicted to have each label, of the shape of the logits."""
        result: npt.NDArray[np.bool_] = self.logits > 0
        return result

    @cached_property
    def probabilities(self) -> FloatArray:
        """Sigmoid, float64, of the shape of the logits."""
        return sigmoid(self.logits)


def _check(logits: FloatArray, labels: npt.NDArray[Any], axes: Sequence[str], label_axes: int) -> None:
    fewest = 2 if label_axes == 1 else 1
    if logits.ndim != len(axes) or 0 in logits.shape or logits.shape[-1] < fewest:
        some = "two classes" if fewest == 2 else "a class"
        raise ValueError(f"logits need shape ({', '.join(axes)}) with a case and {some}, got {logits.shape}")
    wanted = logits.shape[-2:][:label_axes]
    if labels.shape != wanted or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels need whole numbers of shape {wanted}, got {labels.dtype} of {labels.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")
