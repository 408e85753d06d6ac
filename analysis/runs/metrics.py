"""The metrics of a run, as its studies describe those that not every trial has: no code of theirs is loaded."""

from __future__ import annotations

import polars as pl

from harness.metrics.facts import MetricFacts
from harness.metrics.table import facts_of, known_metrics
from harness.run.directory import RunDirectory


def metrics_of(run: RunDirectory, trials: pl.DataFrame, primary: str) -> dict[str, MetricFacts]:
    """What is said of each metric that a run has, by name, in the order of tables.

    One that only classes in an order have is left out where no trial has a value of it.

    Args:
        run: the run directory.
        trials: ``frames.trials`` of it.
        primary: the metric of the search, which is never left out.

    Raises:
        RequestError: there is no such primary metric.
        TornFileError: the description of a study is not readable.
    """
    told = (record for study in run.studies() for record in study.description().get("metrics", ()))
    known = known_metrics(told)
    facts_of(primary, known, f"{run.path}: search.metric")
    return {
        name: facts
        for name, facts in known.items()
        if name == primary or not facts.needs_order or trials[f"val_{name}"].drop_nulls().len()
    }
