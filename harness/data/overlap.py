"""Images that are in two sets at once: in two datasets, or in what a backbone is trained on and what is tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

MOST_NAMED = 3
"""How many pairs of images are named."""


@dataclass(frozen=True, slots=True)
class IdenticalImages:
    """The images of two sets that have the same pixels before the resize."""

    first: int
    """Images of the first set that the second has."""
    second: int
    """Images of the second set that the first has: another number where one of the two holds an image twice."""
    named: tuple[tuple[str, str], ...]
    """Case ids of up to ``MOST_NAMED`` pairs, one for each picture, in the order of the first set."""


def find_identical(sets: Mapping[str, pl.DataFrame]) -> dict[tuple[str, str], IdenticalImages]:
    """The images that any two of several sets share, by the digests of their pixels; no pixel is read.

    One join finds all pairs of sets, so the cost grows with all images together, not with the pairs of sets.

    Args:
        sets: name → rows of ``DecodedDataset.records``.

    Returns:
        The pairs of sets that share an image, their names in the order of ``sets``.
    """
    hashes = {name: rows["pixels"].hash() for name, rows in sets.items()}
    # Of most datasets no image is elsewhere, and a join of few texts costs nothing.
    together = np.sort(np.concatenate([np.zeros(0, dtype=np.uint64), *(one.unique() for one in hashes.values())]))
    candidates = np.unique(together[1:][together[1:] == together[:-1]])
    if not len(candidates):
        return {}
    contents = pl.concat(
        _contents(number, rows.with_row_index("row").filter(np.isin(hashes[name].to_numpy(), candidates)))
        for number, (name, rows) in enumerate(sets.items())
    )
    pairs = contents.join(contents, on="pixels", suffix="_2").filter(pl.col("set") < pl.col("set_2"))
    names, found = list(sets), {}
    for (one, other), shared in sorted(pairs.partition_by("set", "set_2", as_dict=True).items()):
        named = shared.sort("row").head(MOST_NAMED)
        found[names[one], names[other]] = IdenticalImages(
            int(shared["images"].sum()),
            int(shared["images_2"].sum()),
            tuple(zip(named["case_id"], named["case_id_2"], strict=True)),
        )
    return found


def _contents(number: int, rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each picture of a set: how many images show it, and the first of them."""
    return rows.group_by("pixels").agg(
        pl.lit(number).alias("set"), pl.len().alias("images"), pl.col("row").first(), pl.col("case_id").first()
    )
