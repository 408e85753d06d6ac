"""Metrics of agreement between labels and predictions beyond chance."""

from __future__ import annotations

import numpy as np

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.metric import Metric
from harness.metrics.parts import kappa, matthews, mean

_UNEQUAL = 1.0 - np.eye(2)


class Matthews(Metric):
    """R_K of Gorodkin 2004, 0 for a constant prediction; of two classes the coefficient of Matthews 1975."""

    name = "mcc"
    label, phrase = "MCC", "MCC"
    higher_is_better, bounds = True, (-1.0, 1.0)
    place, interval = 4, "crossed_bootstrap"

    def value(self, cases: ScoredCases) -> float | None:
        return matthews(cases.confusion)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return mean([matthews(table) for table in cases.confusion])


class Kappa(Metric):
    """Kappa of Cohen 1960."""

    name = "kappa"
    label, phrase = "Kappa", "Cohen's kappa"
    higher_is_better, bounds = True, (-1.0, 1.0)
    place, compared = 5, False

    def value(self, cases: ScoredCases) -> float | None:
        return kappa(cases.confusion, 1.0 - np.eye(cases.classes))

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        # Of a class that no case or every case has, it is defined now and then, as the predictions happen to be.
        pairs = zip(cases.confusion, cases.support, strict=True)
        return mean([kappa(table, _UNEQUAL) if 0 < count < cases.cases else None for table, count in pairs])


class QuadraticKappa(Metric):
    """Weighted kappa of Cohen 1968 with weights (i - j)²."""

    name = "kappa_quadratic"
    label, phrase = "Quadratic kappa", "quadratically weighted kappa"
    higher_is_better, bounds = True, (-1.0, 1.0)
    needs_order, multi_label = True, False
    place, compared = 6, False

    def value(self, cases: ScoredCases) -> float | None:
        step = np.arange(cases.classes, dtype=np.float64)
        return kappa(cases.confusion, np.square(step[:, None] - step[None, :]))
