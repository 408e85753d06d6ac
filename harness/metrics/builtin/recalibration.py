"""Calibration by refitting the logit: whether probabilities are too extreme, or too high, on average.

Of two classes, or of having a label, with the logit L = log(p / (1 - p)) of the second class's probability p, Cox 1958
fits logit P(y = 1) = a + b L by maximum likelihood. Weak calibration is b = 1, and a = 0 where b is held at 1 (Van
Calster et al. 2019). Neither more nor less of a and b is better, so what methods are compared by is the distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness.metrics.cases import ScoredCases
from harness.metrics.logits import sigmoid
from harness.metrics.metric import Metric
from harness.metrics.parts import FloatArray
from harness.metrics.repeated import RepeatedCases

_STEPS = 200
_Fit = Callable[[FloatArray, npt.NDArray[np.bool_]], tuple[float, FloatArray] | None]


class CalibrationSlopeError(Metric):
    """Distance from 1 of the slope of logistic recalibration (Cox 1958; Van Calster et al. 2019); of two classes alone.

    A slope below 1 says that probabilities are too extreme, one above that they are not extreme enough. Undefined where
    a threshold separates the classes, or nearly so: no slope is then the most likely one. With several labels an image
    it is the mean over the labels.
    """

    name = "calibration_slope_error"
    label, phrase = "Calibration slope error", "distance of the calibration slope from 1"
    higher_is_better, bounds = False, (0.0, math.inf)
    on_request, compared = True, False
    pseudo_values = "distance of the calibration slope from 1"

    def value(self, cases: ScoredCases) -> float | None:
        return _distance(cases, _slope, 1.0)

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        return _distances(cases, _slope, 1.0)


class CalibrationInterceptError(Metric):
    """Distance from 0 of the calibration intercept, the slope held at 1 (Cox 1958; Van Calster et al. 2019).

    It is how far, in logits, probabilities of the second class are too high or too low on average. Of two classes
    alone; undefined where one has no case. With several labels an image it is the mean over the labels.
    """

    name = "calibration_intercept_error"
    label, phrase = "Calibration intercept error", "distance of the calibration intercept from 0"
    higher_is_better, bounds = False, (0.0, math.inf)
    on_request, compared = True, False
    pseudo_values = "distance of the calibration intercept from 0"

    def value(self, cases: ScoredCases) -> float | None:
        return _distance(cases, _intercept, 0.0)

    def case_values(self, cases: RepeatedCases) -> FloatArray | None:
        return _distances(cases, _intercept, 0.0)


def _distance(cases: ScoredCases, fit: _Fit, ideal: float) -> float | None:
    found = fit(_logit(cases.logits), cases.labels == 1) if cases.classes == 2 else None
    return None if found is None else abs(found[0] - ideal)


def _distances(cases: RepeatedCases, fit: _Fit, ideal: float) -> FloatArray | None:
    """Pseudo-values of the distance: that of a value exactly at the ideal has no derivative, and counts 0."""
    if cases.classes != 2:
        return None
    rows = []
    for logits in cases.logits:
        found = fit(_logit(logits), cases.labels == 1)
        if found is None:
            return None
        value, influence = found
        rows.append(abs(value - ideal) + np.sign(value - ideal) * (influence - influence.mean()))
    return np.stack(rows)


def _logit(logits: FloatArray) -> FloatArray:
    result: FloatArray = logits[:, 1] - logits[:, 0]
    return result


def _slope(logit: FloatArray, actual: npt.NDArray[np.bool_]) -> tuple[float, FloatArray] | None:
    """The slope b, and the influence of each case on it: its row of ``n H⁻¹ (1, L) (y - p)`` with the information H.

    Newton's method with halved steps on the convex loss, of standardised logits.
    """
    own, others = logit[actual], logit[~actual]
    if not len(own) or not len(others) or own.max() <= others.min() or others.max() <= own.min():
        return None
    spread = float(logit.std())
    design = np.stack([np.ones(len(logit)), (logit - logit.mean()) / spread], axis=1)
    signed = np.where(actual, 1.0, -1.0)

    def loss(weights: FloatArray) -> float:
        return float(np.logaddexp(0.0, -signed * (design @ weights)).sum())

    weights: FloatArray = np.zeros(2)
    for _ in range(_STEPS):
        p = sigmoid(design @ weights)
        each = (design * (actual - p)[:, None]).T
        try:
            steps = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design, each)
        except np.linalg.LinAlgError:
            return None
        step = steps.sum(axis=1)
        if np.abs(step).max() <= 1e-11 * (1 + np.abs(weights).max()):
            return float(weights[1] / spread), len(logit) * steps[1] / spread
        # Near the optimum, rounding hides what a step gains.
        now = loss(weights) * (1 + 1e-12)
        while loss(weights + step) > now:
            step = step / 2
        weights = weights + step
    return None


def _intercept(logit: FloatArray, actual: npt.NDArray[np.bool_]) -> tuple[float, FloatArray] | None:
    """The intercept a, and the influence of each case on it, ``n (y - p) / sum of p (1 - p)``.

    At a, what the class's own cases lack of a probability of 1 adds up to the probabilities of the others. Both sums
    are compared by their logarithms, which a confident prediction does not round to 0.
    """
    if actual.all() or not actual.any():
        return None
    from scipy.optimize import brentq

    def excess(a: float) -> float:
        lacking, given = -np.logaddexp(0.0, logit[actual] + a), -np.logaddexp(0.0, -logit[~actual] - a)
        return float(np.logaddexp.reduce(given) - np.logaddexp.reduce(lacking))

    odds = math.log(actual.sum() / (~actual).sum())
    a = float(brentq(excess, odds - logit.max() - 1.0, odds - logit.min() + 1.0, xtol=1e-13, rtol=1e-14))
    lacking, given = -np.logaddexp(0.0, logit + a), -np.logaddexp(0.0, -logit - a)
    scale = np.logaddexp.reduce(lacking + given)
    influence = np.where(actual, 1.0, -1.0) * np.exp(np.where(actual, lacking, given) - scale)
    return a, len(logit) * influence
