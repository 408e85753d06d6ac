"""Ranks of methods over datasets: Friedman's test and Nemenyi's critical difference. Refused below six datasets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, fdtrc, ndtr

from analysis.stats.cautions import Caution, few_datasets, few_datasets_for_population, pooled_seeds, refuse
from analysis.stats.estimate import FloatArray, finite
from analysis.stats.quadrature import unit_rule

EXACT_WORK = 1e8
"""Additions above which the exact distribution of Friedman's statistic is not computed (about half a second)."""


@dataclass(frozen=True, slots=True)
class Friedman:
    """Do the methods' mean ranks differ? Demsar, JMLR 7, 2006, section 3.2.2."""

    mean_ranks: tuple[float, ...]
    """By method; 1 is best."""
    datasets: int
    chi2_uncorrected: float
    chi2: float
    """Corrected for ties (Conover 1999)."""
    f: float
    """Iman and Davenport 1980, from the corrected statistic; infinite where all datasets agree."""
    p_chi2: float
    p_f: float
    p_exact: float | None
    """Over all orders of the observed ranks within each dataset; None where they are too many."""
    cautions: tuple[Caution, ...]

    @property
    def df(self) -> int:
        """Degrees of freedom of chi-squared, and the first of F."""
        return len(self.mean_ranks) - 1

    @property
    def df_2(self) -> int:
        """The second degrees of freedom of F."""
        return self.df * (self.datasets - 1)

    @property
    def p(self) -> float:
        """The exact p value where there is one, else that of F."""
        return self.p_f if self.p_exact is None else self.p_exact


def friedman(table: npt.ArrayLike, datasets: Sequence[str], higher_is_better: bool = True) -> Friedman:
    """Friedman's test of one score (the mean over seeds) for each dataset and method.

    Args:
        table: shape (datasets, methods), finite, at least three methods.
        datasets: the dataset of each row.
        higher_is_better: direction of the score.

    Raises:
        Refused: fewer than six datasets, or several rows of the same one.
        ValueError: fewer than three methods, or names that do not fit the rows.
    """
    scores = finite(table, 2)
    n, k = scores.shape
    if k < 3 or len(datasets) != n:
        raise ValueError(f"needs three methods and a name for each of {n} rows, got {k} and {len(datasets)}")
    refuse(pooled_seeds(datasets))
    refuse(few_datasets_for_population(n))
    ranks = doubled_rank_table(-scores if higher_is_better else scores)
    caution = few_datasets(n)
    return friedman_of_ranks(ranks, cautions=() if caution is None else (caution,))


def friedman_of_ranks(doubled: npt.NDArray[np.int64], cautions: tuple[Caution, ...] = ()) -> Friedman:
    """The statistics from a table of doubled ranks, shape (datasets, methods), for any number of datasets."""
    n, k = doubled.shape
    sums = doubled.sum(axis=0) / 2.0
    uncorrected = max(0.0, 12.0 / (n * k * (k + 1)) * float(sums @ sums) - 3.0 * n * (k + 1))
    ties = sum(int(size) ** 3 - int(size) for row in doubled for size in Counter(row.tolist()).values())
    share = 1.0 - ties / (n * k * (k * k - 1))
    chi2 = uncorrected / share if share > 0 else 0.0
    f, p_f = iman_davenport(chi2, n, k)
    return Friedman(
        mean_ranks=tuple((sums / n).tolist()),
        datasets=n,
        chi2_uncorrected=uncorrected,
        chi2=chi2,
        f=f,
        p_chi2=float(chdtrc(k - 1, chi2)),
        p_f=p_f,
        p_exact=_exact(doubled),
        cautions=cautions,
    )


def iman_davenport(chi2: float, datasets: int, methods: int) -> tuple[float, float]:
    """F and its p value from Friedman's chi-square (Iman and Davenport 1980); infinite and 0 at its maximum."""
    room = datasets * (methods - 1) - chi2
    if room <= 1e-9 * datasets * methods:
        return math.inf, 0.0
    f = (datasets - 1) * chi2 / room
    return f, float(fdtrc(methods - 1, (methods - 1) * (datasets - 1), f))


def doubled_rank_table(values: FloatArray) -> npt.NDArray[np.int64]:
    """Twice the mid-ranks within each row, the smallest value first; shape (rows, columns)."""
    below = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    result: npt.NDArray[np.int64] = (2 * below + equal + 1).astype(np.int64)
    return result


def nemenyi_q(methods: int, alpha: float = 0.05) -> float:
    """Upper quantile of the range of so many standard normal values, over sqrt(2) (Demsar 2006, table 5a).

    Raises:
        ValueError: fewer than two methods or alpha outside (0, 1).
    """
    from scipy.optimize import brentq

    if methods < 2 or not 0 < alpha < 1:
        raise ValueError(f"needs two methods and alpha in (0, 1), got {methods} and {alpha}")
    return float(brentq(lambda q: _range_tail(q * math.sqrt(2), methods) - alpha, 0.0, 20.0, xtol=1e-12))


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """Smallest difference of mean ranks that Nemenyi's test calls significant: ``q sqrt(k (k + 1) / (6 N))``.

    Raises:
        Refused: fewer than six datasets.
    """
    refuse(few_datasets_for_population(datasets))
    return nemenyi_q(methods, alpha) * math.sqrt(methods * (methods + 1) / (6.0 * datasets))


def nemenyi_p(mean_ranks: Sequence[float], datasets: int) -> FloatArray:
    """p values of all pairs by Nemenyi's test, shape (methods, methods), symmetric, 1 on the diagonal.

    Raises:
        Refused: fewer than six datasets.
    """
    refuse(few_datasets_for_population(datasets))
    k = len(mean_ranks)
    error = math.sqrt(k * (k + 1) / (6.0 * datasets))
    table = np.ones((k, k))
    for a in range(k):
        for b in range(a):
            gap = abs(mean_ranks[a] - mean_ranks[b]) / error
            table[a, b] = table[b, a] = _range_tail(gap * math.sqrt(2), k)
    return table


def _range_tail(width: float, count: int) -> float:
    """Probability that the range of ``count`` standard normal values is at least ``width``."""
    # The smallest value lies at z; all others lie within the width above it.
    nodes, weights = unit_rule()
    z = 9.0 * nodes
    inside = np.power(ndtr(z + width) - ndtr(z), count - 1)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return min(1.0, max(0.0, 1.0 - count * 9.0 * float((weights * density) @ inside)))


def _exact(doubled: npt.NDArray[np.int64]) -> float | None:
    """Probability of a sum of squared rank sums at least as large, all orders within each row equally likely."""
    n, k = doubled.shape
    if math.factorial(k) * float(doubled.max() * n + 1) ** (k - 1) * n > EXACT_WORK:
        return None
    from itertools import permutations

    size = int(doubled.max()) * n + 1
    # The last method's sum follows from the others, which span the axes.
    ways = np.zeros((size,) * (k - 1))
    ways[(0,) * (k - 1)] = 1.0
    top = 0
    for row in doubled:
        orders = Counter(order[:-1] for order in permutations(row.tolist()))
        following = np.zeros_like(ways)
        source = ways[(slice(0, top + 1),) * (k - 1)]
        for shift, times in orders.items():
            following[tuple(slice(step, step + top + 1) for step in shift)] += times * source
        top += int(row.max())
        ways = following / math.factorial(k)
    axes = np.meshgrid(*[np.arange(size)] * (k - 1), indexing="ij", sparse=True)
    last = int(doubled.sum()) - sum(axes)
    squares = sum(axis**2 for axis in axes) + last**2
    observed = int(np.square(doubled.sum(axis=0)).sum())
    return float(ways[squares >= observed].sum())
