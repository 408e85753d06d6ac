"""Accuracy on the line."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import linregress

from analysis.stats.cautions import Refused
from analysis.stats.effective_robustness import effective_robustness

REFERENCE = np.array([0.70, 0.74, 0.78, 0.82, 0.86, 0.90])
NOISE = np.array([0.02, -0.03, 0.01, 0.03, -0.02, -0.01])
SHIFTED = ndtr(0.8 * ndtri(REFERENCE) - 0.4 + NOISE)


def test_it_is_the_distance_from_the_controls_line_in_accuracy() -> None:
    method = np.array([0.79, 0.80, 0.81])
    above = ndtr(0.8 * ndtri(method) - 0.4 + 0.25)
    found = effective_robustness(method, above, REFERENCE, SHIFTED)
    fit = linregress(ndtri(REFERENCE), ndtri(SHIFTED))
    expected = fit.intercept + fit.slope * ndtri(method).mean()
    assert found.estimate == pytest.approx(float(ndtr(ndtri(above).mean()) - ndtr(expected)), abs=1e-12)
    assert found.low is not None and found.high is not None and 0 < found.low < found.estimate < found.high
    assert found.p_value() is None


def test_a_method_on_the_line_is_not_shown_to_be_above_it() -> None:
    on = effective_robustness(REFERENCE[1:5], SHIFTED[1:5], REFERENCE, SHIFTED)
    assert on.low is not None and on.high is not None and on.low < 0 < on.high


def test_the_interval_covers_retraining() -> None:
    rng, covered = np.random.default_rng(4), 0
    for _ in range(600):
        x = 0.5 + 0.3 * rng.normal(size=12)
        y = 0.8 * x - 0.4 + 0.05 * rng.normal(size=12)
        at = rng.choice(x, 5) * 0.5 + 0.25
        above = 0.8 * at - 0.4 + 0.1 + 0.08 * rng.normal(size=5)
        found = effective_robustness(ndtr(at), ndtr(above), ndtr(x), ndtr(y))
        truth = float(ndtr(0.8 * at.mean() - 0.3) - ndtr(0.8 * at.mean() - 0.4))
        covered += (found.low or 0) <= truth <= (found.high or 0)
    assert 0.925 <= covered / 600 <= 0.975


@pytest.mark.parametrize(("method", "control", "what"), [
    (np.array([0.95, 0.96]), slice(None), "beyond those of the control"),
    (np.array([0.8, 0.81]), slice(4), "4 trainings of the control are too few"),
    (np.array([0.8, 1.0]), slice(None), "accuracy of 0 or 1"),
])  # fmt: skip
def test_what_a_line_does_not_carry_is_refused(method: np.ndarray, control: slice, what: str) -> None:
    with pytest.raises(Refused, match=what):
        effective_robustness(method, method, REFERENCE[control], SHIFTED[control])


def test_trainings_are_paired() -> None:
    with pytest.raises(ValueError, match="two accuracies"):
        effective_robustness([0.8, 0.8], [0.7], REFERENCE, SHIFTED)
