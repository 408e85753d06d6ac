"""From what a design observed to a p value of no difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.special import stdtr

from analysis.stats.estimate import FloatArray
from analysis.stats.twoway import TwoWay, two_way
from analysis.stats.variances import MeanSquare, possible
from benchmarks.calibration.designs.layouts import Design
from benchmarks.calibration.designs.learner import IntArray
from benchmarks.calibration.designs.sweeps import Table

TWO_WAY, BY_SEARCH = "two-way", "two-way by search"
STUDENT, CORRECTED, CORRECTED_BY_SEARCH = "t", "Nadeau-Bengio", "Nadeau-Bengio by search"
CASES, IMAGES, IMAGES_BY_SEARCH = "shared cases", "shared images", "shared images by search"
ADDED, ADDED_BY_SEARCH = "shared images, added up", "shared images, added up, by search"
Sharing = Literal["cases", "images", "added"]
WHOLE_SPREAD = "whole spread of the bootstraps"


Analysis = Callable[[Table], float]


def analyses(design: Design, replicates: int) -> dict[str, Analysis]:
    """Every analysis that fits a design by its name; each gives a p value."""
    # One search is one draw, however many replicates it has; its bootstraps say how far searches differ.
    whole_spread, by_search = design.searches == 1 and design.resampled, design.by_search(replicates)
    found: dict[str, Analysis]
    if design.splits == "one":
        found = {TWO_WAY: lambda table: two_way_p(table.differences)}
        if whole_spread:
            found[WHOLE_SPREAD] = lambda table: two_way_p(table.differences, spreads=1.0)
        if by_search:
            found[BY_SEARCH] = lambda table: two_way_p(averaged(table))
        return found
    if design.nested and by_search:
        return {
            CORRECTED_BY_SEARCH: lambda table: resampled_p(averaged(table).mean(axis=1), table.test_to_train),
            IMAGES_BY_SEARCH: lambda table: shared_p(table, table.searches),
            ADDED_BY_SEARCH: lambda table: shared_p(table, table.searches, "added"),
        }
    each = list(range(replicates))
    found = {
        STUDENT: lambda table: resampled_p(table.differences.mean(axis=1), 0.0),
        CORRECTED: lambda table: resampled_p(table.differences.mean(axis=1), table.test_to_train),
        CASES: lambda table: shared_p(table, each, "cases"),
        IMAGES: lambda table: shared_p(table, each),
        ADDED: lambda table: shared_p(table, each, "added"),
    }
    if whole_spread:
        found[WHOLE_SPREAD] = lambda table: shared_p(table, each, spreads=1.0)
    if by_search:
        found[IMAGES_BY_SEARCH] = lambda table: shared_p(table, table.searches)
    return found


def averaged(table: Table) -> FloatArray:
    """Differences averaged over the replicates of each search, which share a test side; shape (searches, cases)."""
    searches = np.array(table.searches)
    return np.stack([table.differences[searches == search].mean(axis=0) for search in np.unique(searches)])


def two_way_p(differences: FloatArray, spreads: float = 0.0) -> float:
    """Of the project's two-way analysis; 1 where there is no difference at all.

    Args:
        differences: shape (rows, cases).
        spreads: how many times the variance between rows is added to that of their mean.
    """
    found: TwoWay = two_way(differences)
    parts = found.parts()
    if parts is None:
        return 1.0 if found.estimate == 0 else 0.0
    rows, cases = parts
    wider = MeanSquare(rows.variance * (1 + spreads * len(differences)), rows.df)
    return min(1.0, 2 * possible(wider, cases).tail(abs(found.estimate)))


def resampled_p(differences: FloatArray, ratio: float) -> float:
    """Student's t with the variance ``(1 / n + ratio) S²`` (Nadeau and Bengio, Machine Learning 52, 2003).

    Args:
        differences: of scores, shape (replicates,).
        ratio: test images by training images; 0 for Student's own.
    """
    count, mean, variance = len(differences), float(differences.mean()), float(differences.var(ddof=1))
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stdtr(count - 1, -abs(mean) / math.sqrt((1 / count + ratio) * variance)))


def shared_p(table: Table, rows: list[int], sharing: Sharing = "images", spreads: float = 0.0) -> float:
    """The two-way analysis where the images of replicates overlap instead of being the same.

    The variance of a mean of n rows is ``S² / n`` plus the covariance of two rows, which comes from what they share:
    images. The case variance is estimated by products of the differences of one case in two rows, as in reader
    studies where not every reader reads every case (Gallas, Academic Radiology 13, 2006); two test sides share it by
    the cases that are in both. No data of replicates that share training images tell what these do (Bengio and
    Grandvalet, JMLR 5, 2004), so an image is taken to move a score as much by being trained on as by being tested. What
    it does to two rows, trained on in one and tested in the other, is then nothing on average or, if a method gains
    by what it is good at, adds up.

    Args:
        table: what a design observed.
        rows: the row of each replicate; the replicates of a search can be one row.
        sharing: whether rows share their test cases alone, training images as well, or what an image does to a row by
            both added up.
        spreads: how many times the variance between rows is added to that of their mean.
    """
    names, own = np.unique(rows, return_inverse=True)
    member = np.equal.outer(np.arange(len(names)), own) / np.bincount(own)[:, None]
    means = table.differences.mean(axis=1)
    averages = member @ means
    count, mean, spread = len(names), float(averages.mean()), float(averages.var(ddof=1))
    images = 1 + int(max(table.tests.max(), table.trains.max()))
    centred = _by_image(table.differences - means[:, None], table.tests, images)
    tested, learned = (_by_image(np.ones(places.shape), places, images) for places in (table.tests, table.trains))
    apart, cases = np.not_equal.outer(own, own), table.tests.shape[1]
    common = tested @ tested.T
    # A row's own mean is taken off, which takes a share of the case's effect with it.
    expected = float((common * (1 - 2 / cases + common / cases**2))[apart].sum())
    if expected > 0:
        case = max(0.0, float((centred @ centred.T)[apart].sum()) / expected)
    else:
        # Every case was tested once: what is its own and what is chance cannot be told apart.
        case = float(np.vdot(centred, centred)) / (len(means) * (cases - 1))
    tests, trains = tested / cases, learned / table.trains.shape[1]
    if sharing == "added":
        shares = (tests + trains) @ (tests + trains).T
    else:
        shares = tests @ tests.T + (trains @ trains.T if sharing == "images" else 0.0)
    shared = case * float((member @ (shares * apart) @ member.T).sum()) / (count * (count - 1))
    between = spread * (1 / count + spreads)
    if between + shared <= 0:
        return 1.0 if mean == 0 else 0.0
    distinct = int(np.count_nonzero(tested.sum(axis=0)))
    # The mixture needs a variance between rows, however small.
    rows_part = MeanSquare(max(between, 1e-12 * shared), count - 1)
    variances = possible(rows_part, MeanSquare(shared, distinct - 1) if shared > 0 else None)
    return min(1.0, 2 * variances.tail(abs(mean)))


def _by_image(values: FloatArray, places: IntArray, images: int) -> FloatArray:
    """Values at their images' places in the pool, 0 elsewhere; shape (replicates, pool)."""
    result = np.zeros((len(values), images))
    np.put_along_axis(result, places, values, axis=1)
    return result
