"""Metrics of decisions: how many cases are classified correctly, counted in different ways."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.influence import by_confusion, f1_slope, mean_values, recall_slope
from harness.metrics.metric import Metric
from harness.metrics.parts import FloatArray, IntArray, mean, ratio
from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases


class Accuracy(Metric):
    """Share of cases, and with several labels an image of answers, that are right."""

    name = "accuracy"
    label, phrase = "Accuracy", "accuracy"
    higher_is_better, bounds = True, (0.0, 1.0)
    place = 0

    def value(self, cases: ScoredCases) -> float | None:
        return float(cases.hits.sum() / cases.cases)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return float((cases.actual == cases.predicted).mean())

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        return cases.correct.astype(np.float64)

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        result: FloatArray = (cases.actual == cases.predicted).mean(axis=2)
        return result


class BalancedAccuracy(Metric):
    """Mean sensitivity over classes; with several labels an image the mean of (sensitivity + specificity) / 2."""

    name = "balanced_accuracy"
    label, phrase = "Balanced accuracy", "balanced accuracy"
    higher_is_better, bounds = True, (0.0, 1.0)
    place = 1
    pseudo_values = "balanced accuracy"

    def value(self, cases: ScoredCases) -> float | None:
        return _mean_recall(cases.confusion)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean([mean([*pair]) for pair in zip(cases.sensitivity, cases.specificity, strict=True)])

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        return by_confusion(cases, _mean_recall, recall_slope)

    def chance(self, classes: int | None) -> float | None:
        return 1 / classes if classes else None


class MacroF1(Metric):
    """Mean F1 over classes; with several labels an image of having each label."""

    name = "macro_f1"
    label, phrase = "Macro F1", "macro-F1"
    higher_is_better, bounds = True, (0.0, 1.0)
    place = 3
    pseudo_values = "macro-F1"

    def value(self, cases: ScoredCases) -> float | None:
        return _macro_f1(cases.confusion)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean([_f1_of_having(table) for table in cases.confusion])

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        part = np.full(cases.classes, 1 / cases.classes)
        return by_confusion(cases, _macro_f1, partial(f1_slope, part=part))

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        slope = partial(f1_slope, part=np.array([0.0, 1.0]))
        return mean_values(by_confusion(alone, _f1_of_having, slope) for alone in cases.each_class())


def _mean_recall(confusion: IntArray) -> float | None:
    return mean(ratio(np.diag(confusion), confusion.sum(axis=1)))


def _macro_f1(confusion: IntArray) -> float | None:
    return mean(_f1(np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)))


def _f1_of_having(confusion: IntArray) -> float | None:
    """F1 of a label by [[true negatives, false positives], [false negatives, true positives]]."""
    return _f1(np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0))[1]


def _f1(hits: npt.NDArray[Any], support: npt.NDArray[Any], called: npt.NDArray[Any]) -> list[float | None]:
    present = support > 0
    return ratio(np.where(present, 2 * hits, 0), np.where(present, support + called, 0))
