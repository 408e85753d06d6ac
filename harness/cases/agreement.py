"""Which methods classify a test case correctly: pure functions of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

NONE, ALL, MIXED = "no method", "every method", "some methods"
"""Kinds of cases; a further one for each method that alone is right."""


def only(method: str) -> str:
    """The kind of the cases that one method alone gets right."""
    return f"only {method}"


def agreement(predictions: Mapping[str, Sequence[pl.DataFrame]]) -> pl.DataFrame:
    """Judge each case that every method was tested on.

    A method gets a case right where more than half of its replicates that were tested on it do.

    Args:
        predictions: method → a frame for each of its replicates: ``case_id``, ``label`` (int64, one a case),
            ``logit_0`` … (float64).

    Returns:
        A row a case and method, by case and in the order of the methods: ``case_id``, ``label``, ``method``,
        ``replicates`` (that were tested on it), ``right`` (of these, int), ``predicted`` (the class that most of them
        name, the smallest among equals), ``kind`` of the case.
    """
    long = pl.concat(
        [
            frame.select(
                "case_id",
                "label",
                pl.lit(method).alias("method"),
                pl.lit(place).alias("place"),
                pl.concat_list(pl.col(r"^logit_\d+$")).list.arg_max().cast(pl.Int64).alias("predicted"),
            )
            for place, (method, frames) in enumerate(predictions.items())
            for frame in frames
        ]
    )
    judged = long.group_by("case_id", "label", "method", "place").agg(
        pl.len().cast(pl.Int64).alias("replicates"),
        (pl.col("predicted") == pl.col("label")).sum().cast(pl.Int64).alias("right"),
        pl.col("predicted").mode().min(),
    )
    whole = judged.filter(pl.len().over("case_id") == len(predictions))
    won = (2 * pl.col("right") > pl.col("replicates")).cast(pl.Int64)
    winners = won.sum().over("case_id")
    winner = pl.col("method").filter(won == 1).first().over("case_id")
    kind = (
        pl.when(winners == 0)
        .then(pl.lit(NONE))
        .when(winners == len(predictions))
        .then(pl.lit(ALL))
        .when(winners == 1)
        .then(pl.format(only("{}"), winner))
        .otherwise(pl.lit(MIXED))
    )
    return whole.with_columns(kind.alias("kind")).sort("case_id", "place").drop("place")
