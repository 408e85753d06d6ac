"""Metrics of agreement between labels and predictions beyond chance."""

from __future__ import annotations

from functools import partial

import numpy as np

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.influence import by_confusion, kappa_slope, matthews_slope
from harness.metrics.metric import Metric
from harness.metrics.parts import FloatArray, kappa, matthews, mean
from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases

_UNEQUAL = 1.0 - np.eye(2)


class Matthews(Metric):
    """R_K of Gorodkin 2004, 0 for a constant prediction; of two classes the coefficient of Matthews 1975."""

    name = "mcc"
    label, phrase = "MCC", "MCC"
    higher_is_better, bounds = True, (-1.0, 1.0)
    place = 4
    pseudo_values = "MCC"

    def value(self, cases: ScoredCases) -> float | None:
        return matthews(cases.confusion)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean([matthews(table) for table in cases.confusion])

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        return by_confusion(cases, matthews, matthews_slope)


class Kappa(Metric):
    """Kappa of Cohen 1960."""

    name = "kappa"
    label, phrase = "Kappa", "Cohen's kappa"
    higher_is_better, bounds = True, (-1.0, 1.0)
    place, compared = 5, False
    pseudo_values = "Cohen's kappa"

    def value(self, cases: ScoredCases) -> float | None:
        return kappa(cases.confusion, 1.0 - np.eye(cases.classes))

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        # Of a class that no case or every case has, it is defined now and then, as the predictions happen to be.
        pairs = zip(cases.confusion, cases.support, strict=True)
        return mean([kappa(table, _UNEQUAL) if 0 < count < cases.cases else None for table, count in pairs])

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        weights = 1.0 - np.eye(cases.classes)
        return by_confusion(cases, partial(kappa, weights=weights), partial(kappa_slope, weights=weights))

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        decided = cases.actual.any(axis=0) & ~cases.actual.all(axis=0)
        return super().multi_label_case_values(cases) if decided.all() else None


class QuadraticKappa(Metric):
    """Weighted kappa of Cohen 1968 with weights (i - j)²."""

    name = "kappa_quadratic"
    label, phrase = "Quadratic kappa", "quadratically weighted kappa"
    higher_is_better, bounds = True, (-1.0, 1.0)
    needs_order, multi_label = True, False
    place, compared = 6, False
    pseudo_values = "quadratically weighted kappa"

    def value(self, cases: ScoredCases) -> float | None:
        return kappa(cases.confusion, _squared_steps(cases.classes))

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        weights = _squared_steps(cases.classes)
        return by_confusion(cases, partial(kappa, weights=weights), partial(kappa_slope, weights=weights))


def _squared_steps(classes: int) -> FloatArray:
    step = np.arange(classes, dtype=np.float64)
    return np.square(step[:, None] - step[None, :])
