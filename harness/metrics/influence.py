"""Metrics as means over cases: pseudo-values of each case whose mean is the metric of a training, exactly.

The pseudo-value of a case is the metric plus the case's influence on it, the first-order term of von Mises' expansion
(Hampel 1974): the derivative of the metric in the direction of more weight for this case and less for all. Influences
sum to 0 over the cases, and their spread is that of the metric on new cases to first order. A difference of two
methods' pseudo-values is analysed over seeds and cases as a difference of correctness is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from harness.metrics.parts import ECE_BINS, FloatArray, IntArray, calibration_bins, class_counts
from harness.metrics.repeated import RepeatedCases


def by_confusion(
    cases: RepeatedCases, value: Callable[[IntArray], float | None], slope: Callable[[FloatArray], FloatArray]
) -> FloatArray | None:
    """Pseudo-values of a metric M that is a smooth function of the confusion matrix.

    ``M + sum over cells of dM / dp_jk (1[case in cell jk] - p_jk)`` with the share ``p_jk`` of the cases in each cell:
    the delta method, case by case.

    Args:
        cases: as several trainings predict them.
        value: M by the counts, shape (classes, classes), rows are true classes; None where it is not defined.
        slope: dM / dp by the shares, both of that shape; asked only where every value is defined.

    Returns:
        Shape (seeds, cases); None where a training's value is not defined.
    """
    found = [value(table) for table in cases.confusion]
    defined = [one for one in found if one is not None]
    if len(defined) < len(found):
        return None
    slopes = np.stack([slope(table / cases.cases) for table in cases.confusion]).reshape(cases.seeds, -1)
    influence = np.take_along_axis(slopes, cases.cells, axis=1)
    result: FloatArray = np.array(defined)[:, None] + influence - influence.mean(axis=1, keepdims=True)
    return result


def mean_values(parts: Iterable[FloatArray | None]) -> FloatArray | None:
    """Pseudo-values of an unweighted mean of metrics, of which there is one at least; None where a part is."""
    total, count = None, 0
    for part in parts:
        if part is None:
            return None
        total, count = part if total is None else total + part, count + 1
    return None if total is None else total / count


def recall_slope(shares: FloatArray) -> FloatArray:
    """dM / dp of the mean recall over classes, each of which has a case: ``([j = k] - recall_j) / (K s_j)``."""
    support = shares.sum(axis=1, keepdims=True)
    result: FloatArray = (np.eye(len(shares)) - np.diag(shares)[:, None] / support) / (len(shares) * support)
    return result


def rates_slope(shares: FloatArray, counted: FloatArray, among: FloatArray, classes: slice) -> FloatArray:
    """dM / dp of the mean of rates ``R = counted · c / among · c`` of the classes' counts c: ``(counted - R among) dc``
    over ``among · c``.

    Args:
        shares: shape (classes, classes).
        counted: weight of each of the ``class_counts`` in the numerator, shape (4,).
        among: the same for the denominator.
        classes: those whose rates count, each of which is defined.
    """
    counts = class_counts(shares)[:, classes]
    below = among @ counts
    each = np.zeros((len(counted), len(shares)))
    each[:, classes] = (counted[:, None] - among[:, None] * (counted @ counts / below)) / (below * len(below))
    hits, support, called, cases = each
    result: FloatArray = np.diag(hits) + support[:, None] + called[None, :] + cases.sum()
    return result


def f1_slope(shares: FloatArray, part: FloatArray) -> FloatArray:
    """dM / dp of a weighted sum of the classes' F1, ``2 p_kk / (s_k + c_k)`` with the sums s of rows and c of columns.

    Args:
        shares: shape (classes, classes).
        part: weight of each class's F1, shape (classes,), 0 where the class has no case.
    """
    size = shares.sum(axis=1) + shares.sum(axis=0)
    weight = np.divide(part, size, out=np.zeros(len(part)), where=part != 0)
    f1 = np.divide(2 * np.diag(shares), size, out=np.zeros(len(part)), where=part != 0)
    result: FloatArray = np.diag(2 * weight) - (weight * f1)[:, None] - (weight * f1)[None, :]
    return result


def matthews_slope(shares: FloatArray) -> FloatArray:
    """dM / dp of R_K = C / sqrt(A B) (Gorodkin 2004): A = 1 - sum of s², B = 1 - sum of c², C = trace - s · c.

    A constant prediction (B = 0) has R_K = 0 by definition. It has no derivative towards cases that are predicted
    otherwise, of which it has none; whatever weight the cases have, it stays 0, and so is the slope.

    Args:
        shares: shape (classes, classes), with cases of two classes at least; s are its sums of rows, c of columns.
    """
    support, called = shares.sum(axis=1), shares.sum(axis=0)
    if np.count_nonzero(called) == 1:
        return np.zeros_like(shares)
    spread_true, spread_called = 1 - support @ support, 1 - called @ called
    root = math.sqrt(spread_true * spread_called)
    value = (np.trace(shares) - support @ called) / root
    direct = (np.eye(len(shares)) - called[:, None] - support[None, :]) / root
    result: FloatArray = direct + value * (support[:, None] / spread_true + called[None, :] / spread_called)
    return result


def kappa_slope(shares: FloatArray, weights: FloatArray) -> FloatArray:
    """dM / dp of weighted kappa, ``1 - O / E``: the cost O = sum of w p, and E = sum of w s c that chance would have.

    Args:
        shares: shape (classes, classes), with E above 0; s are its sums of rows, c of columns.
        weights: w, cost of each kind of disagreement, the same shape, 0 on the diagonal.
    """
    support, called = shares.sum(axis=1), shares.sum(axis=0)
    cost, expected = (weights * shares).sum(), support @ weights @ called
    by_chance = (weights @ called)[:, None] + (support @ weights)[None, :]
    result: FloatArray = cost / expected**2 * by_chance - weights / expected
    return result


def calibration_values(probability: FloatArray, occurred: npt.NDArray[np.bool_]) -> FloatArray:
    """Pseudo-values of the expected calibration error: ``sign(S_b) (occurred - probability)`` for a case of bin b.

    S_b is the sum of ``occurred - probability`` over the bin, and the metric is the sum of all |S_b| over the cases.
    Where S_b is 0 there is no derivative, and the cases of the bin count 0. The absolute value makes the metric too
    large on average, the more so the fewer cases a bin has and the better calibrated they are (Kumar,
    Liang and Ma 2019; Roelofs et al. 2022); signs that would change with new cases make an interval too wide there,
    with coverage up to .99 in the place of .95 (``benchmarks/calibration``).

    Args:
        probability: shape (seeds, cases), in [0, 1].
        occurred: the same shape: whether that came about which the probability is of.

    Returns:
        Shape (seeds, cases), in [-1, 1].
    """
    seeds = len(probability)
    places = calibration_bins(probability) + ECE_BINS * np.arange(seeds)[:, None]
    gaps = occurred - probability
    sums = np.bincount(places.ravel(), weights=gaps.ravel(), minlength=seeds * ECE_BINS)
    result: FloatArray = np.sign(sums)[places] * gaps
    return result


def area_values(score: FloatArray, own: npt.NDArray[np.bool_], groups: IntArray | None = None) -> FloatArray | None:
    """Pseudo-values of the ROC AUC of one class (DeLong, DeLong and Clarke-Pearson 1988).

    With n1 cases of the class and n0 others: ``A + c1 (V10 - A) n / n1`` for its own cases, ``A + c0 (V01 - A) n / n0``
    for the others, where V10 is the fraction of others with a lower score, V01 the fraction of own cases with a higher
    one, equal scores counting one half. The factors ``c1² = (1 - 1 / n) n1 / (n1 - 1)`` and ``c0`` likewise make
    the variance over all n that of DeLong, ``S10 / n1 + S01 / n0``, with each sum of squares over its own degrees of
    freedom. With groups they count groups in the place of cases, which gives the variance of Obuchowski 1997 where
    each patient has one class.

    Args:
        score: shape (seeds, cases), higher for the class.
        own: shape (cases,), whether each case is of the class.
        groups: shape (cases,), the patient or lesion of each case; every case is its own if None.

    Returns:
        Shape (seeds, cases), float64; each row's mean is that seed's AUC. None where all cases are of the class, or
        none is.
    """
    n = score.shape[1]
    n1 = int(own.sum())
    n0 = n - n1
    if n1 == 0 or n0 == 0:
        return None
    order = np.argsort(score, axis=1)
    ordered, mine = np.take_along_axis(score, order, axis=1), own[order]
    # Each case's run of equal scores, from its first to its last place in the order.
    place, edge = np.arange(n), np.ones((len(score), 1), dtype=bool)
    steps = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(np.hstack([edge, steps]), place, 0), axis=1)
    last = np.minimum.accumulate(np.where(np.hstack([steps, edge]), place, n)[:, ::-1], axis=1)[:, ::-1]
    others = np.hstack([~edge, ~mine]).cumsum(axis=1)
    lower_others = (np.take_along_axis(others, first, axis=1) + np.take_along_axis(others, last + 1, axis=1)) / 2
    lower_own = (first + last + 1) / 2 - lower_others
    fraction = np.where(mine, lower_others / n0, 1.0 - lower_own / n1)
    area = np.where(mine, fraction, 0.0).sum(axis=1, keepdims=True) / n1
    values = np.empty_like(score)
    weight = np.where(own, n / n1, n / n0) * _own_freedom(own, groups)
    np.put_along_axis(values, order, area + (fraction - area) * weight[order], axis=1)
    return values


def precision_values(score: FloatArray, own: npt.NDArray[np.bool_]) -> FloatArray | None:
    """Pseudo-values of the average precision of one class, ``AP = mean over its own cases i of P_i``.

    P_i is the share of own cases among the M_i cases with at least the score of i. A case k that weighs more changes
    the mean over own cases, if it is one, and each P_i of a score that is no higher than its own:
    ``AP + n / n1 ([k own] (P_k - AP) + sum over own i with s_i <= s_k of ([k own] - P_i) / M_i)``, with n1 own cases
    among n.

    Args:
        score: shape (seeds, cases), higher for the class.
        own: shape (cases,), whether each case is of the class.

    Returns:
        Shape (seeds, cases), float64; each row's mean is that seed's average precision. None where all cases are of
        the class, or none is.
    """
    if own.all() or not own.any():
        return None
    return np.stack([_precision_values(row, own) for row in score])


def _precision_values(score: FloatArray, own: npt.NDArray[np.bool_]) -> FloatArray:
    _, place = np.unique(-score, return_inverse=True)
    found, reached = np.bincount(place, weights=own), np.bincount(place).cumsum()
    precision, positive = found.cumsum() / reached, own.sum()
    value = (found * precision).sum() / positive
    # Over the own cases of each threshold and all lower ones.
    gain, loss = (terms[::-1].cumsum()[::-1] for terms in (found / reached, found * precision / reached))
    influence = np.where(own, precision[place] - value + gain[place], 0.0) - loss[place]
    result: FloatArray = value + len(own) / positive * influence
    return result


def _own_freedom(own: npt.NDArray[np.bool_], groups: IntArray | None) -> FloatArray:
    """Factor of each case's distance from the AUC, shape (cases,).

    A class with a single case or group shows no spread of its own: its distance is zero, or there is no estimate.
    """
    everyone = len(own) if groups is None else len(np.unique(groups))
    factors = np.ones(len(own))
    for side in (own, ~own):
        units = int(side.sum()) if groups is None else len(np.unique(groups[side]))
        if units > 1:
            factors[side] = np.sqrt((1 - 1 / everyone) * units / (units - 1))
    return factors
