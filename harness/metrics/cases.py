"""Logits and labels of a set of cases, with everything that several metrics need of them, computed once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.logits import OneLabelEach, SeveralLabelsEach
from harness.metrics.parts import FloatArray, IntArray, area_under_curve, ratio

_AXES = ("cases", "classes")


class ScoredCases(OneLabelEach):
    """Cases with one label each. The prediction is the class of the largest logit, the first among equals.

    Args:
        logits: float64, shape (n, classes), finite.
        labels: whole numbers, shape (n,), in [0, classes).
        ordinal: whether the order of the classes means something.

    Raises:
        ValueError: wrong shapes, no case, fewer than two classes, a label out of range, a logit not finite.
    """

    def __init__(self, logits: FloatArray, labels: IntArray, ordinal: bool = False) -> None:
        super().__init__(logits, labels, _AXES)
        self.ordinal = ordinal

    @cached_property
    def confusion(self) -> IntArray:
        """Counts, shape (classes, classes): rows are true classes, columns predicted ones."""
        places = self.labels * self.classes + self.predicted
        return np.bincount(places, minlength=self.classes**2).reshape(self.classes, self.classes)

    @cached_property
    def support(self) -> IntArray:
        """Cases of each class, shape (classes,)."""
        result: IntArray = self.confusion.sum(axis=1)
        return result

    @cached_property
    def called(self) -> IntArray:
        """Cases that are predicted to be of each class, shape (classes,)."""
        result: IntArray = self.confusion.sum(axis=0)
        return result

    @cached_property
    def hits(self) -> IntArray:
        """Cases of each class that are predicted to be of it, shape (classes,)."""
        return np.diag(self.confusion)

    @cached_property
    def sensitivity(self) -> list[float | None]:
        """Share of each class's cases that are found; None for a class without a case."""
        return ratio(self.hits, self.support)

    @cached_property
    def specificity(self) -> list[float | None]:
        """Share of the other cases that are not taken for the class; None where there are none."""
        return ratio(self.cases - self.support - self.called + self.hits, self.cases - self.support)

    @cached_property
    def areas(self) -> list[float | None]:
        """One-versus-rest ROC AUC of each class on softmax probabilities, ties by midranks."""
        return [area_under_curve(self.probabilities[:, k], self.labels == k) for k in range(self.classes)]


class MultiLabelCases(SeveralLabelsEach):
    """Cases that may have several labels at once, or none: each class is a question of its own.

    The answer is yes where the logit is positive, which is a probability above one half. A class that no case has, or
    that every case has, leaves undefined what compares the two.

    Args:
        logits: float64, shape (n, classes), finite.
        labels: whole numbers, shape (n, classes), 0 and 1.

    Raises:
        ValueError: wrong shapes, no case, a label that is neither 0 nor 1, a logit not finite.
    """

    def __init__(self, logits: FloatArray, labels: npt.NDArray[Any]) -> None:
        super().__init__(logits, labels, _AXES)

    def each_class(self) -> list[ScoredCases]:
        """Each class alone, as cases with one of two labels: 0 without it, 1 with it."""
        return [ScoredCases(logits, labels) for logits, labels in self.two_classes()]

    @cached_property
    def support(self) -> IntArray:
        """Cases that have each label, shape (classes,)."""
        result: IntArray = self.actual.sum(axis=0)
        return result

    @cached_property
    def hits(self) -> IntArray:
        """Cases that have each label and are predicted to, shape (classes,)."""
        result: IntArray = (self.actual & self.predicted).sum(axis=0)
        return result

    @cached_property
    def false_alarms(self) -> IntArray:
        """Cases that are predicted to have each label and do not, shape (classes,)."""
        result: IntArray = (~self.actual & self.predicted).sum(axis=0)
        return result

    @cached_property
    def rejections(self) -> IntArray:
        """Cases that neither have each label nor are predicted to, shape (classes,)."""
        result: IntArray = self.cases - self.support - self.false_alarms
        return result

    @cached_property
    def confusion(self) -> IntArray:
        """For each class [[true negatives, false positives], [false negatives, true positives]]."""
        parts = [self.rejections, self.false_alarms, self.support - self.hits, self.hits]
        return np.stack(parts, axis=1).reshape(self.classes, 2, 2)

    @cached_property
    def sensitivity(self) -> list[float | None]:
        """Share of the cases with each label that are found; None where no case has it."""
        return ratio(self.hits, self.support)

    @cached_property
    def specificity(self) -> list[float | None]:
        """Share of the cases without each label that are predicted so; None where every case has it."""
        return ratio(self.rejections, self.cases - self.support)

    @cached_property
    def areas(self) -> list[float | None]:
        """ROC AUC of each class, ties by midranks."""
        # On probabilities, logits above 37 would tie at 1.
        return [area_under_curve(self.logits[:, k], self.actual[:, k]) for k in range(self.classes)]
