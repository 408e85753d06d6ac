"""Temperature scaling: one number that makes a model's probabilities fit the validation images (Guo et al. 2017).

Logits are divided by the temperature before they become probabilities, https://arxiv.org/abs/1706.04599. No predicted
class changes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from harness.metrics.logits import sigmoid, softmax
from harness.metrics.parts import FloatArray

LOWEST, HIGHEST = 0.05, 20.0
"""Without limits a model that errs on no validation image would call everything certain."""


def fitted_temperature(logits: FloatArray, labels: npt.NDArray[np.int64]) -> float:
    """The temperature in [``LOWEST``, ``HIGHEST``] with the smallest mean negative log-likelihood.

    Args:
        logits: float64, shape (cases, classes), finite.
        labels: shape (cases,), a class each; or (cases, classes) of 0 and 1, where each class is a question of its own.
    """
    several = labels.ndim == 2
    actual = labels if several else np.eye(logits.shape[1])[labels]

    def slope(inverse: float) -> float:
        # In the inverse of the temperature the likelihood is concave, so that its slope has one zero.
        expected = sigmoid(logits * inverse) if several else softmax(logits * inverse)
        return float(((expected - actual) * logits).sum() / len(logits))

    if slope(1 / LOWEST) <= 0:
        return LOWEST
    if slope(1 / HIGHEST) >= 0:
        return HIGHEST
    return float(1 / brentq(slope, 1 / HIGHEST, 1 / LOWEST, xtol=1e-15))
