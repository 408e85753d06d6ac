"""The table of predictions: a row an image, with those that could not be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from harness.core.arguments import check_out
from harness.core.errors import RequestError
from harness.metrics.parts import FloatArray
from harness.predict.images import ImageBatch
from harness.predict.models import KeptModel

FORMS = (".csv", ".parquet")
JOINED = ";"
"""Between the predicted classes of an image that may bear several."""


def mean_probabilities(members: Sequence[FloatArray]) -> FloatArray:
    """Probabilities of an ensemble: the mean of those of its members, each of shape (images, classes)."""
    result: FloatArray = np.mean(members, axis=0)
    return result


def predicted_classes(probabilities: FloatArray, classes: Sequence[str], multi_label: bool) -> list[str]:
    """The class of the largest probability of each image, the first among equals; or those above one half, joined.

    Args:
        probabilities: shape (images, classes).
        classes: their names.
        multi_label: whether an image may bear several, or none: it is then empty.
    """
    if not multi_label:
        return [classes[place] for place in probabilities.argmax(axis=1)]
    return [
        JOINED.join(name for name, one in zip(classes, row, strict=True) if one > 0.5) for row in probabilities.tolist()
    ]


def predictions_table(
    models: Sequence[KeptModel], batches: Iterable[ImageBatch], done: Callable[[int], None] = lambda images: None
) -> pl.DataFrame:
    """Predict images with the ensemble of some models.

    Args:
        models: at least one, of one cell.
        batches: the images.
        done: called with the number of images of each batch that is predicted.

    Returns:
        ``file``; ``p_CLASS``, the probability of each class (float64); ``predicted``; ``models``, how many; ``error``,
        why an image could not be read, whose prediction is null and whose ``models`` is 0.
    """
    first = models[0]
    frames = []
    for batch in batches:
        probabilities = mean_probabilities([model.probabilities(batch.pixels) for model in models])
        names = predicted_classes(probabilities, first.classes, first.multi_label)
        read = pl.Series([error is None for error in batch.errors])
        frame = pl.DataFrame(
            {
                "file": batch.names,
                **{f"p_{name}": column for name, column in zip(first.classes, probabilities.T, strict=True)},
                "predicted": names,
            }
        )
        frames.append(
            frame.select(
                "file",
                *(pl.when(read).then(pl.col(name)).alias(name) for name in frame.columns[1:]),
                pl.when(read).then(len(models)).otherwise(0).cast(pl.Int64).alias("models"),
                pl.Series("error", batch.errors, dtype=pl.String),
            )
        )
        done(len(batch.names))
    return pl.concat(frames)


def check_destination(path: Path, run: Path) -> None:
    """Refuse a file that predictions cannot be written to, before anything is predicted.

    Args:
        path: of the table.
        run: the run directory, which is only read.

    Raises:
        RequestError: the ending is unknown, the file exists, its folder does not, or it would be inside the run.
    """
    check_out(path, run, FORMS)
    if path.exists():
        raise RequestError(f"--out {path}: exists already; remove it or choose another name")
