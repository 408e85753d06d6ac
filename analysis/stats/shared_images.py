"""The interval of a mean over replicates that were searched, trained and tested on splits of their own, image by image.

Replicates on several splits of one dataset are not independent, because they share images. What two of them have in
common is estimated from the images that both tested, as in reader studies in which not every reader reads every case
(Gallas, Academic Radiology 13, 2006); with one test side for all this is the two-way analysis of
``analysis.stats.twoway``. What shared training images do cannot be told from such data (Bengio and Grandvalet, JMLR 5,
2004), so that an image is taken to move a score as much by being trained on as by being tested, and both to add up in
two rows of which one trains on an image that the other tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.cautions import zero_variance
from analysis.stats.estimate import FloatArray, Mixed, finite, with_ends
from analysis.stats.variances import MeanSquare

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverImages(Mixed):
    """A mean over independent rows (splits, with a search on each) with the interval that their common images leave.

    The variance is ``S² / K + c``: S² is that of the K rows, which lacks what all rows have in common, and c the mean
    covariance of two rows, ``σ² (t / (n n') + m)`` with σ² the variance between images, t the test images that both
    have of n and n', and m likewise of images that both train on, or one trains on and the other tests. Interval and p
    value average over what the expected values of both parts may be (Behrens and Fisher), on K - 1 degrees of freedom
    and on one less than there are images.
    """

    rows: MeanSquare
    """``S² / K``."""
    shared: MeanSquare
    """c."""

    def parts(self) -> tuple[MeanSquare, MeanSquare | None] | None:
        """Both; the rows alone where nothing is shared."""
        if self.standard_error is None:
            return None
        if self.shared.variance <= 0:
            return self.rows, None
        # The mixture needs a variance between rows, however small.
        least = max(self.rows.variance, 1e-12 * self.shared.variance)
        return MeanSquare(least, self.rows.df), self.shared


def mean_over_images(
    values: Sequence[FloatArray], tests: Sequence[IntArray], trained: FloatArray, confidence: float = 0.95
) -> OverImages:
    """Interval of the mean of rows that share images.

    Args:
        values: one array a row, at least two: differences of a metric by test image or patient, shape (n,), whose mean
            is the difference of the row.
        tests: which image or patient each value is of, likewise; each at most once in a row.
        trained: shape (rows, rows): what two rows share by training: images or patients that both train on, and that
            one trains on and the other tests, each number over the product of how many the two sides have.
        confidence: coverage in (0, 1).

    Returns:
        ``standard_error``, ``df``, ``low`` and ``high`` are None where all values are the same.

    Raises:
        ValueError: fewer than two rows, shapes that do not go together, an image twice in a row, or a value that is not
            finite.
    """
    own = [finite(row, 1) for row in values]
    count = len(own)
    if count < 2 or len(tests) != count or trained.shape != (count, count):
        raise ValueError(f"needs at least two rows that go together, got {count}, {len(tests)} and {trained.shape}")
    if any(len(np.unique(test)) != len(row) or len(row) < 2 for row, test in zip(own, tests, strict=True)):
        raise ValueError("each row needs at least two images, each of them once")
    means = np.array([row.mean() for row in own])
    sizes = np.array([len(row) for row in own], dtype=np.float64)
    seen, place = np.unique(np.concatenate(tests), return_inverse=True)
    centred, present = np.zeros((count, len(seen))), np.zeros((count, len(seen)))
    start = 0
    for number, row in enumerate(own):
        places = place[start : start + len(row)]
        centred[number, places], present[number, places] = row - means[number], 1.0
        start += len(row)
    between, shared = _parts(means, centred, present, sizes, trained)
    rows, common = MeanSquare(between, count - 1.0), MeanSquare(shared, len(seen) - 1.0)
    mean = float(means.mean())
    spread = between + shared > 1e-24 * max(1.0, mean**2)
    return with_ends(
        OverImages(
            estimate=mean,
            standard_error=math.sqrt(between + shared) if spread else None,
            df=MeanSquare.pooled([rows, common]).df if spread else None,
            confidence=confidence,
            low=None,
            high=None,
            scope="splits",
            cautions=() if spread else (zero_variance(),),
            rows=rows,
            shared=common,
        )
    )


def _parts(
    means: FloatArray, centred: FloatArray, present: FloatArray, sizes: FloatArray, trained: FloatArray
) -> tuple[float, float]:
    """``S² / K`` and the mean covariance of two rows."""
    count, apart = len(means), ~np.eye(len(means), dtype=bool)
    common, product = present @ present.T, np.outer(sizes, sizes)
    # A row's own mean is taken off, which takes a share of the image's effect with it.
    expected = common * (1 - 1 / sizes[:, None] - 1 / sizes + common / product)
    if common[apart].any():
        image = max(0.0, float((centred @ centred.T)[apart].sum()) / float(expected[apart].sum()))
    else:
        # Every image was tested once: what is its own and what is chance cannot be told apart, so all is its own.
        image = float(np.vdot(centred, centred)) / float((sizes - 1).sum())
    shares = common / product + trained
    return float(means.var(ddof=1)) / count, image * float(shares[apart].mean())
