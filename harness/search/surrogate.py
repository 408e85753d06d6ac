"""Which slot is best by a model of all scores, rather than by the luckiest one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.search.sampler import Asked
from harness.space.parameters import Choice, Float, Int, Space, Value, searched

LEAST_SLOTS = 5
"""With fewer scores nothing is modelled."""


def expected_scores(space: Space, finished: Sequence[Asked]) -> npt.NDArray[np.float64] | None:
    """The mean of a Gaussian process at each slot, fitted to the scores of all of them; None where they are too few.

    Matérn 5/2 kernel with a length for each hyperparameter, and noise of its own, by maximum likelihood (Rasmussen and
    Williams 2006, "Gaussian Processes for Machine Learning", section 2.2 and chapter 5).

    Args:
        space: the study's space.
        finished: slots with a score.

    Returns:
        Float64 of shape (slots,), rounded to 9 digits, so that sums in another order choose the same slot.
    """
    varied = searched(space)
    if len(finished) < LEAST_SLOTS or not varied:
        return None
    # It takes more than a second to import, which small searches need not wait for.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    points = np.array([[x for name in varied for x in _unit(varied[name], e.hyperparameters[name])] for e in finished])
    scores = np.array([entry.score for entry in finished], dtype=np.float64)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(np.full(points.shape[1], 0.5), (0.05, 20.0), nu=2.5)
    model = GaussianProcessRegressor(kernel + WhiteKernel(0.1, (1e-4, 1e1)), normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: the hyperparameter matters little
        means: npt.NDArray[np.float64] = np.asarray(model.fit(points, scores).predict(points), dtype=np.float64)
    return means.round(9)


def _unit(parameter: Float | Int | Choice, value: Value) -> list[float]:
    """Where a value lies in its range, from 0 to 1; a choice has a coordinate for each of its values."""
    if isinstance(parameter, Choice):
        return [float(value == choice) for choice in parameter.choices]
    low, high, at = float(parameter.low), float(parameter.high), float(value)
    if parameter.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return [0.0 if high == low else (at - low) / (high - low)]
