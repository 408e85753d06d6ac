"""Metrics of decisions: how many cases are classified correctly, counted in different ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.metric import Metric
from harness.metrics.parts import mean, ratio


class Accuracy(Metric):
    """Share of cases, and with several labels an image of answers, that are right."""

    name = "accuracy"
    label, phrase = "Accuracy", "accuracy"
    higher_is_better, bounds = True, (0.0, 1.0)
    place, interval = 0, "two_way"

    def value(self, cases: ScoredCases) -> float | None:
        return float(cases.hits.sum() / cases.cases)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return float((cases.actual == cases.predicted).mean())


class BalancedAccuracy(Metric):
    """Mean sensitivity over classes; with several labels an image the mean of (sensitivity + specificity) / 2."""

    name = "balanced_accuracy"
    label, phrase = "Balanced accuracy", "balanced accuracy"
    higher_is_better, bounds = True, (0.0, 1.0)
    place, interval = 1, "two_way"
    pseudo_values = "balanced accuracy"

    def value(self, cases: ScoredCases) -> float | None:
        return mean(cases.sensitivity)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean([mean([*pair]) for pair in zip(cases.sensitivity, cases.specificity, strict=True)])

    def chance(self, classes: int | None) -> float | None:
        return 1 / classes if classes else None


class MacroF1(Metric):
    """Mean F1 over classes; with several labels an image of having each label."""

    name = "macro_f1"
    label, phrase = "Macro F1", "macro-F1"
    higher_is_better, bounds = True, (0.0, 1.0)
    place, interval = 3, "crossed_bootstrap"

    def value(self, cases: ScoredCases) -> float | None:
        return mean(_f1(cases.hits, cases.support, cases.called))

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean(_f1(cases.hits, cases.support, cases.hits + cases.false_alarms))


def _f1(hits: npt.NDArray[Any], support: npt.NDArray[Any], called: npt.NDArray[Any]) -> list[float | None]:
    present = support > 0
    return ratio(np.where(present, 2 * hits, 0), np.where(present, support + called, 0))
