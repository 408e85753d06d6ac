"""Mean and spread of the training images, for networks whose weights bring none."""

from __future__ import annotations

import numpy as np

from harness.data.decoded import DecodedDataset
from harness.data.split import Split, indices
from harness.networks.normalisation import Normalisation

MOST_IMAGES = 4096
"""So many say enough; a large dataset need not be read whole before each training."""

_measured: dict[tuple[str, str], Normalisation] = {}


def training_normalisation(data: DecodedDataset, split: Split) -> Normalisation:
    """Mean and standard deviation of each channel over the training side alone, in [0, 1].

    At most ``MOST_IMAGES`` images, evenly spaced over the side, are read; a process measures a split once.
    """
    key = (data.fingerprint, split.digest)
    if key not in _measured:
        train = indices(split, data)[0]
        chosen = train[np.linspace(0, len(train) - 1, min(len(train), MOST_IMAGES)).astype(np.int64)]
        counts = np.zeros((3, 256), dtype=np.int64)
        for row in chosen:
            for channel in range(3):
                counts[channel] += np.bincount(data.images[row, :, :, channel].ravel(), minlength=256)
        # Exact whole numbers up to here: the result does not depend on the order of additions.
        share = counts / counts.sum(axis=1, keepdims=True)
        value = np.arange(256) / 255
        mean = share @ value
        # A channel without any contrast would divide by zero.
        std = np.maximum(np.sqrt((share * np.square(value - mean[:, None])).sum(axis=1)), 1 / 255)
        _measured[key] = Normalisation(
            (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))
        )
    return _measured[key]
