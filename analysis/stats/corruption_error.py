"""The mean corruption error relative to a control (Hendrycks and Dietterich, ICLR 2019).

``CE_c = Σ_s E_s,c / Σ_s E*_s,c`` for each corruption c, with the errors E of a method and E* of the control at severity
s, and mCE the mean of the CE_c. There the control is AlexNet; here it is the sweep's own. Below 1 the method withstands
the corruptions better than the control, by this measure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import Caution, Refused
from analysis.stats.estimate import FloatArray, finite


def mean_corruption_error(errors: npt.ArrayLike, control: npt.ArrayLike) -> float:
    """mCE from mean errors.

    Args:
        errors: of the method, shape (corruptions, severities), in [0, 1].
        control: likewise.

    Raises:
        Refused: the control makes no error under some corruption, so that there is nothing to divide by.
        ValueError: shapes that differ, or a value that is not finite.
    """
    own, other = finite(errors, 2).sum(axis=1), finite(control, 2).sum(axis=1)
    return float(np.mean(_ratios(own, other)))


def corruption_error_values(errors: FloatArray, control: FloatArray) -> FloatArray:
    """Values by training and case whose mean is mCE, and whose spread is that of mCE to first order.

    With ``R_c`` the ratio of the means it is ``mCE + mean over c of (E_c - R_c E*_c) / mean(E*_c)``, the linearisation
    of a ratio (Cochran, Sampling Techniques, 1977, section 6.3).

    Args:
        errors: of the method, each the mean over severities, shape (corruptions, trainings, cases); or
            (corruptions, trainings) where trainings have cases of their own.
        control: likewise, paired by training and case.

    Returns:
        Shape (trainings, cases), or (trainings,).

    Raises:
        Refused, ValueError: as for ``mean_corruption_error``.
    """
    if errors.shape != control.shape:
        raise ValueError(f"needs errors of both by the same cases, got {errors.shape} and {control.shape}")
    own, other = finite(errors, errors.ndim), finite(control, control.ndim)
    inner = tuple(range(1, own.ndim))
    base = other.mean(axis=inner)
    ratios = _ratios(own.mean(axis=inner), base)
    shape = (-1, *(1 for _ in inner))
    influence = (own - ratios.reshape(shape) * other) / base.reshape(shape)
    result: FloatArray = ratios.mean() + influence.mean(axis=0)
    return result


def _ratios(own: FloatArray, other: FloatArray) -> FloatArray:
    if own.shape != other.shape:
        raise ValueError(f"needs as many corruptions of both, got {len(own)} and {len(other)}")
    if (other <= 0).any():
        raise Refused(
            Caution(
                "no_error_of_control",
                "The control makes no error under one of the corruptions, so a corruption error relative to it does "
                "not exist.",
            )
        )
    result: FloatArray = own / other
    return result
