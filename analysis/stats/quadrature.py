"""Integrals by the rule of Gauss and Legendre, and over a chi-square distribution."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammainccinv, gammaincinv, gammaln

FloatArray = npt.NDArray[np.float64]
LEFT_OUT = 1e-10
"""Probability at each end of a chi-square distribution that an integral leaves out."""


@lru_cache(maxsize=4)
def unit_rule(count: int = 300) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights on [-1, 1]; finding them takes longer than anything that is done with them."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights


@lru_cache(maxsize=512)
def mean_square_ratio(df: float, count: int = 300) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of ``chi2(df) / df``, an observed over an expected mean square; the weights sum to 1.

    The rule is laid over the logarithm, between quantiles that leave out ``LEFT_OUT`` at each end.
    """
    low = math.log(2 * float(gammaincinv(df / 2, LEFT_OUT)) / df)
    high = math.log(2 * float(gammainccinv(df / 2, LEFT_OUT)) / df)
    nodes, weights = unit_rule(count)
    logs = low + (high - low) * (nodes + 1) / 2
    half = df / 2
    density = np.exp(half * logs - half * np.exp(logs) + half * math.log(half) - float(gammaln(half)))
    return np.exp(logs), weights * (high - low) / 2 * density
