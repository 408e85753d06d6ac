"""The same cases as several trainings of a method predict them, with what values of single cases share, computed once.

What holds for a metric of one training is in ``harness.metrics.cases``; these are the tables of seeds × cases that
intervals over both are made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.cases import log_softmax, sigmoid
from harness.metrics.parts import FloatArray, IntArray


class RepeatedCases:
    """Cases with one label each, as the trainings of several seeds predict them.

    Args:
        logits: float64, shape (seeds, cases, classes), finite.
        labels: whole numbers, shape (cases,), in [0, classes).
        groups: shape (cases,), the patient or lesion of each case; every case is its own if None.

    Raises:
        ValueError: wrong shapes, no case, fewer than two classes, a label out of range, a logit not finite.
    """

    def __init__(self, logits: FloatArray, labels: IntArray, groups: IntArray | None = None) -> None:
        _check(logits, labels, label_axes=1)
        self.seeds, self.cases, self.classes = logits.shape
        if labels.min() < 0 or labels.max() >= self.classes:
            raise ValueError(f"labels must lie in [0, {self.classes}), got {labels.min()} to {labels.max()}")
        self.logits, self.labels, self.groups = logits, labels, groups

    @cached_property
    def log_probabilities(self) -> FloatArray:
        """Of the softmax, shape (seeds, cases, classes)."""
        return log_softmax(self.logits)

    @cached_property
    def probabilities(self) -> FloatArray:
        """Softmax, shape (seeds, cases, classes)."""
        return np.exp(self.log_probabilities)

    @cached_property
    def predicted(self) -> IntArray:
        """Predicted class of each case, shape (seeds, cases)."""
        result: IntArray = self.logits.argmax(axis=2)
        return result

    @cached_property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each case is classified correctly, shape (seeds, cases)."""
        result: npt.NDArray[np.bool_] = self.predicted == self.labels
        return result

    @cached_property
    def cells(self) -> IntArray:
        """Where in its training's confusion matrix, read row by row, each case is counted; shape (seeds, cases)."""
        result: IntArray = self.labels * self.classes + self.predicted
        return result

    @cached_property
    def confusion(self) -> IntArray:
        """Counts, shape (seeds, classes, classes): rows are true classes, columns predicted ones."""
        size = self.classes**2
        places = (self.cells + size * np.arange(self.seeds)[:, None]).ravel()
        return np.bincount(places, minlength=self.seeds * size).reshape(self.seeds, self.classes, self.classes)


class RepeatedMultiLabelCases:
    """Cases that may have several labels at once, or none, as the trainings of several seeds predict them.

    Args:
        logits: float64, shape (seeds, cases, classes), finite.
        labels: whole numbers, shape (cases, classes), 0 and 1.
        groups: shape (cases,), the patient or lesion of each case; every case is its own if None.

    Raises:
        ValueError: wrong shapes, no case, a label that is neither 0 nor 1, a logit not finite.
    """

    def __init__(self, logits: FloatArray, labels: IntArray, groups: IntArray | None = None) -> None:
        _check(logits, labels, label_axes=2)
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"labels must be 0 or 1, got {labels.min()} to {labels.max()}")
        self.seeds, self.cases, self.classes = logits.shape
        self.logits, self.labels, self.groups = logits, labels, groups

    def each_class(self) -> Iterator[RepeatedCases]:
        """Each class alone, as cases with one of two labels: 0 without it, 1 with it."""
        zeros = np.zeros(self.logits.shape[:2])
        for k in range(self.classes):
            yield RepeatedCases(np.stack([zeros, self.logits[:, :, k]], axis=2), self.labels[:, k], self.groups)

    @cached_property
    def actual(self) -> npt.NDArray[np.bool_]:
        """Whether each case has each label, shape (cases, classes)."""
        result: npt.NDArray[np.bool_] = self.labels == 1
        return result

    @cached_property
    def predicted(self) -> npt.NDArray[np.bool_]:
        """Whether each case is predicted to have each label, shape (seeds, cases, classes)."""
        result: npt.NDArray[np.bool_] = self.logits > 0
        return result

    @cached_property
    def probabilities(self) -> FloatArray:
        """Sigmoid, shape (seeds, cases, classes)."""
        return sigmoid(self.logits)


def _check(logits: FloatArray, labels: npt.NDArray[Any], label_axes: int) -> None:
    fewest_classes = 2 if label_axes == 1 else 1
    if logits.ndim != 3 or 0 in logits.shape or logits.shape[2] < fewest_classes:
        raise ValueError(
            f"logits need shape (seeds, cases, classes), {fewest_classes} of them or more, got {logits.shape}"
        )
    wanted = logits.shape[1 : 1 + label_axes]
    if labels.shape != wanted or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels need whole numbers of shape {wanted}, got {labels.dtype} of shape {labels.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("a logit is not finite")
