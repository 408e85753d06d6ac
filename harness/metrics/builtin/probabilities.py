"""Metrics of probabilities: what a prediction said beforehand against what came about. Lower is better."""

from __future__ import annotations

import numpy as np

from harness.metrics.cases import MultiLabelCases, ScoredCases
from harness.metrics.influence import calibration_values, mean_values
from harness.metrics.metric import Metric
from harness.metrics.parts import FloatArray, calibration_error
from harness.metrics.repeated import RepeatedCases, RepeatedMultiLabelCases


class NegativeLogLikelihood(Metric):
    """Mean negative log-likelihood in nats; with several labels an image the binary cross-entropy."""

    name = "nll"
    label, phrase = "NLL", "negative log-likelihood"
    higher_is_better, bounds = False, (0.0, np.inf)
    place = 7

    def value(self, cases: ScoredCases) -> float | None:
        return float(-cases.log_probabilities[np.arange(cases.cases), cases.labels].mean())

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return float(np.logaddexp(0.0, np.where(cases.actual, -cases.logits, cases.logits)).mean())

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        own = cases.labels[None, :, None]
        return -np.take_along_axis(cases.log_probabilities, own, axis=2)[:, :, 0]

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        result: FloatArray = np.logaddexp(0.0, np.where(cases.actual, -cases.logits, cases.logits)).mean(axis=2)
        return result


class Brier(Metric):
    """Mean over cases of the squared errors summed over classes, in [0, 2]; with several labels (p - y)², in [0, 1]."""

    name = "brier"
    label, phrase = "Brier score", "Brier score"
    higher_is_better, bounds = False, (0.0, 2.0)
    place = 8

    def value(self, cases: ScoredCases) -> float | None:
        return float(np.square(cases.probabilities - np.eye(cases.classes)[cases.labels]).sum(axis=1).mean())

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        return float(np.square(cases.probabilities - cases.actual).mean())

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        result: FloatArray = np.square(cases.probabilities - np.eye(cases.classes)[cases.labels]).sum(axis=2)
        return result

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        result: FloatArray = np.square(cases.probabilities - cases.actual).mean(axis=2)
        return result


class CalibrationError(Metric):
    """Expected calibration error of Guo et al. 2017: 15 bins of equal width, closed on the left, the last one on both.

    With one label over the confidence; with several over the probability of having each label, against how often a
    case has it.
    """

    name = "ece"
    label, phrase = "ECE", "expected calibration error"
    higher_is_better, bounds = False, (0.0, 1.0)
    place = 9
    pseudo_values = "expected calibration error"

    def value(self, cases: ScoredCases) -> float | None:
        return calibration_error(cases.probabilities.max(axis=1), cases.predicted == cases.labels)

    def multi_label_value(self, cases: MultiLabelCases) -> float | None:
        pairs = zip(cases.probabilities.T, cases.actual.T, strict=True)
        return float(np.mean([calibration_error(probability, actual) for probability, actual in pairs]))

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        return calibration_values(cases.probabilities.max(axis=2), cases.correct)

    def multi_label_case_values(self, cases: RepeatedMultiLabelCases) -> FloatArray | None:
        classes = range(cases.classes)
        return mean_values(calibration_values(cases.probabilities[:, :, k], cases.actual[:, k]) for k in classes)
