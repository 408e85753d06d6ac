"""Effective robustness: accuracy under a shift beyond what accuracy without it lets expect.

Over many models, accuracy under a shift lies near a line over accuracy on the reference, both on the scale of probits
(Miller et al., Accuracy on the Line, ICML 2021). Taori et al. (NeurIPS 2020) call a model's distance above the line of
standard models its effective robustness. Here the line is that of the control's own trainings.

It says little unless these trainings spread: the line is drawn through few points, whose spread is partly chance, which
flattens it. So it is not given beyond the accuracies that the control has, nor below five trainings.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from analysis.stats.cautions import Caution, Refused
from analysis.stats.estimate import Estimate, finite, t_quantile
from analysis.stats.variances import MeanSquare

FEWEST = 5
"""Trainings of the control that a line is drawn through."""


def effective_robustness(
    reference: npt.ArrayLike,
    shifted: npt.ArrayLike,
    control_reference: npt.ArrayLike,
    control_shifted: npt.ArrayLike,
    confidence: float = 0.95,
) -> Estimate:
    """Accuracy under the shift minus what the control's line lets expect, at the method's mean.

    The line is fitted by least squares on probits. The interval is Student's for retraining with new seeds on these
    very cases: the variance of the method's mean distance from the line, plus that of the line at the method's place,
    with Satterthwaite's degrees of freedom. It is found on probits and turned back.

    Args:
        reference, shifted: accuracies of the method by training, paired, at least two, in (0, 1).
        control_reference, control_shifted: likewise of the control.
        confidence: coverage in (0, 1).

    Raises:
        Refused: fewer than five trainings of the control, an accuracy of 0 or 1, or a mean accuracy of the method
            beyond those of the control.
        ValueError: not as many of both, or a value that is not finite.
    """
    method, line = (finite(one, 1) for one in (reference, control_reference))
    own, other = (finite(one, 1) for one in (shifted, control_shifted))
    if len(method) != len(own) or len(line) != len(other) or len(method) < 2:
        raise ValueError("needs two accuracies of each training, and two trainings of the method")
    every = np.concatenate([line, other, method, own])
    _check(len(line), float(every.min()), float(every.max()))
    x, y, at, above = (np.asarray(ndtri(one), dtype=np.float64) for one in (line, other, method, own))
    place = float(at.mean())
    spread = float(((x - x.mean()) ** 2).sum())
    if not (x.min() <= place <= x.max()) or spread <= 0:
        raise Refused(
            Caution(
                "beyond_the_line",
                "The method's accuracy on the reference lies beyond those of the control's trainings, where their line "
                "says nothing.",
            )
        )
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    start = float(y.mean()) - slope * float(x.mean())
    rest = y - start - slope * x
    distances = above - start - slope * at
    residual = float(rest @ rest) / (len(x) - 2)
    parts = [
        MeanSquare(float(distances.var(ddof=1)) / len(distances), len(distances) - 1.0),
        MeanSquare(residual * (1 / len(x) + (place - float(x.mean())) ** 2 / spread), len(x) - 2.0),
    ]
    whole = MeanSquare.pooled(parts)
    expected, distance = start + slope * place, float(distances.mean())
    half = t_quantile(whole.df, confidence) * math.sqrt(whole.variance)

    def accuracy(beyond: float) -> float:
        return float(ndtr(expected + beyond) - ndtr(expected))

    return Estimate(
        estimate=accuracy(distance),
        standard_error=None,
        df=None,
        confidence=confidence,
        low=accuracy(distance - half),
        high=accuracy(distance + half),
        scope="seeds",
    )


def _check(trainings: int, lowest: float, highest: float) -> None:
    if trainings < FEWEST:
        raise Refused(
            Caution("few_points", f"{trainings} trainings of the control are too few to draw a line through.")
        )
    if lowest <= 0 or highest >= 1:
        raise Refused(Caution("no_probit", "An accuracy of 0 or 1 has no place on the scale of the line."))
