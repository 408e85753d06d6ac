"""Sensitivity at a stated specificity and the reverse, at thresholds that validation cases decide."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from harness.metrics.cases import ScoredCases
from harness.metrics.fitted import FittedMetric
from harness.metrics.parts import FloatArray


class _OperatingPoint(FittedMetric):
    """The share of one class that is told rightly, at the threshold where validation tells ``percent`` of the other so.

    A case is called positive from the threshold on, of the difference of the two logits.
    """

    higher_is_better, bounds = True, (0.0, 1.0)
    on_request = True
    percent: ClassVar[int]
    """What validation is to reach at least."""
    of: ClassVar[int]
    """The class, 0 or 1, whose share the metric is."""

    def fit(self, validation: ScoredCases) -> float | None:
        fixed = np.sort(_score(validation)[validation.labels == 1 - self.of])
        if not len(fixed):
            return None
        # In whole numbers: 0.95 times 20 may be a little more than 19.
        needed = -(-self.percent * len(fixed) // 100)
        if self.of == 1:
            # The lowest threshold that leaves so many negative cases below it.
            return math.nextafter(float(fixed[needed - 1]), math.inf)
        # The highest one that has so many positive cases on it or above.
        return float(fixed[-needed])

    def value_at(self, cases: ScoredCases, number: float) -> float | None:
        own = _score(cases)[cases.labels == self.of]
        called = own >= number
        return None if not len(own) else float((called if self.of == 1 else ~called).mean())


def _score(cases: ScoredCases) -> FloatArray:
    """Log odds of the second of two classes; probabilities would tie where they are rounded to 1."""
    result: FloatArray = cases.logits[:, 1] - cases.logits[:, 0]
    return result


class SensitivityAtSpecificity90(_OperatingPoint):
    """Sensitivity at the lowest threshold with a specificity of at least 90 % on the validation cases; two classes."""

    name = "sensitivity_at_specificity_90"
    label, phrase = "Sensitivity at 90 % specificity", "sensitivity at 90 % validation specificity"
    percent, of = 90, 1


class SensitivityAtSpecificity95(_OperatingPoint):
    """Sensitivity at the lowest threshold with a specificity of at least 95 % on the validation cases; two classes."""

    name = "sensitivity_at_specificity_95"
    label, phrase = "Sensitivity at 95 % specificity", "sensitivity at 95 % validation specificity"
    percent, of = 95, 1


class SpecificityAtSensitivity90(_OperatingPoint):
    """Specificity at the highest threshold with a sensitivity of at least 90 % on the validation cases; two classes."""

    name = "specificity_at_sensitivity_90"
    label, phrase = "Specificity at 90 % sensitivity", "specificity at 90 % validation sensitivity"
    percent, of = 90, 0


class SpecificityAtSensitivity95(_OperatingPoint):
    """Specificity at the highest threshold with a sensitivity of at least 95 % on the validation cases; two classes."""

    name = "specificity_at_sensitivity_95"
    label, phrase = "Specificity at 95 % sensitivity", "specificity at 95 % validation sensitivity"
    percent, of = 95, 0
