"""The same cases as several trainings of a method predict them, with what values of single cases share, computed once.

What holds for a metric of one training is in ``harness.metrics.cases``; these are the tables of seeds × cases that
intervals over both are made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from harness.metrics.logits import OneLabelEach, SeveralLabelsEach
from harness.metrics.parts import FloatArray, IntArray

_AXES = ("seeds", "cases", "classes")


class RepeatedCases(OneLabelEach):
    """Cases with one label each, as the trainings of several seeds predict them.

    Args:
        logits: float64, shape (seeds, cases, classes), finite.
        labels: whole numbers, shape (cases,), in [0, classes).
        groups: shape (cases,), the patient or lesion of each case; every case is its own if None.

    Raises:
        ValueError: wrong shapes, no case, fewer than two classes, a label out of range, a logit not finite.
    """

    def __init__(self, logits: FloatArray, labels: IntArray, groups: IntArray | None = None) -> None:
        super().__init__(logits, labels, _AXES)
        self.seeds, self.groups = len(logits), groups

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


class RepeatedMultiLabelCases(SeveralLabelsEach):
    """Cases that may have several labels at once, or none, as the trainings of several seeds predict them.

    Args:
        logits: float64, shape (seeds, cases, classes), finite.
        labels: whole numbers, shape (cases, classes), 0 and 1.
        groups: shape (cases,), the patient or lesion of each case; every case is its own if None.

    Raises:
        ValueError: wrong shapes, no case, a label that is neither 0 nor 1, a logit not finite.
    """

    def __init__(self, logits: FloatArray, labels: IntArray, groups: IntArray | None = None) -> None:
        super().__init__(logits, labels, _AXES)
        self.seeds, self.groups = len(logits), groups

    def each_class(self) -> Iterator[RepeatedCases]:
        """Each class alone, as cases with one of two labels: 0 without it, 1 with it."""
        return (RepeatedCases(logits, labels, self.groups) for logits, labels in self.two_classes())
