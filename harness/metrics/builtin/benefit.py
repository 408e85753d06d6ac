"""What decisions at a stated threshold are worth to patients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.metrics.cases import ScoredCases
from harness.metrics.metric import Metric
from harness.metrics.parts import FloatArray, IntArray
from harness.metrics.repeated import RepeatedCases


class _NetBenefit(Metric):
    """TP / n - FP / n × t / (1 - t), if cases with a probability of at least t are treated (Vickers and Elkin 2006)."""

    higher_is_better = True
    on_request, compared = True, False
    threshold: ClassVar[float]
    """The probability t of the second class from which one would treat, in (0, 1)."""

    def value(self, cases: ScoredCases) -> float | None:
        if cases.classes != 2:
            return None
        return float(self._worth(cases.probabilities[:, 1], cases.labels).mean())

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        return self._worth(cases.probabilities[:, :, 1], cases.labels) if cases.classes == 2 else None

    def _worth(self, probability: FloatArray, labels: IntArray) -> FloatArray:
        """Of each case: 1 where it is treated rightly, minus the odds of t where wrongly."""
        worth = np.where(labels == 1, 1.0, -_odds(self.threshold))
        return np.where(probability >= self.threshold, worth, 0.0)


def _odds(threshold: float) -> float:
    return threshold / (1.0 - threshold)


class NetBenefit10(_NetBenefit):
    """Net benefit of treating from a probability of 10 % on, TP / n - FP / n / 9 (Vickers and Elkin 2006); two classes.

    With several labels an image it is the mean over the labels.
    """

    name = "net_benefit_10"
    label, phrase = "Net benefit at 10 %", "net benefit at a threshold of 10 %"
    threshold = 0.1
    bounds = (-_odds(threshold), 1.0)


class NetBenefit20(_NetBenefit):
    """Net benefit of treating from a probability of 20 % on, TP / n - FP / n / 4 (Vickers and Elkin 2006); two classes.

    With several labels an image it is the mean over the labels.
    """

    name = "net_benefit_20"
    label, phrase = "Net benefit at 20 %", "net benefit at a threshold of 20 %"
    threshold = 0.2
    bounds = (-_odds(threshold), 1.0)
