"""One class an image, for what must put each image into exactly one: stratified splits, balanced sampling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


def strata(labels: Labels) -> Labels:
    """Stratum of each image, int64, shape (n,).

    With one label an image this is the label. An image with several labels counts under the rarest that it
    bears (the lower index among equally rare ones), because common labels come out in proportion anyway; one
    that bears none counts under a stratum of its own, the number of classes.

    Args:
        labels: shape (n,), or (n, classes) of 0 and 1.
    """
    if labels.ndim == 1:
        return labels
    classes = labels.shape[1]
    # Rank 0 is the rarest class; an image without labels keeps the last rank.
    rarest_first = np.argsort(labels.sum(axis=0), kind="stable")
    ranked = labels[:, rarest_first]
    bears = ranked.any(axis=1)
    result: Labels = np.where(bears, rarest_first[ranked.argmax(axis=1)], classes)
    return result
