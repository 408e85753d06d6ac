"""Evidence from tables that anyone can write: results, predictions, or both (``docs/import-results.md``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from analysis.comparison.evidence import Cell, DeclaredPlan, Evidence, Provenance
from analysis.imported.cells import MergedTables
from analysis.imported.predictions import PredictionTable
from analysis.imported.results import read_results
from analysis.stats.cautions import Caution
from analysis.stats.multiplicity import Correction
from harness.core.errors import RequestError, suggestion
from harness.core.origin import GroupState, is_source
from harness.metrics.facts import MetricFacts
from harness.metrics.table import DEFAULT, built_in, standard

COMPUTED = (DEFAULT, *(name for name, metric in standard().items() if metric.compared and name != DEFAULT))
"""Compared wherever there are predictions, the first one as the primary metric unless something else is said."""

MOST_PAIRS_OF_METHODS = 5_000
"""On all datasets together: a hundred methods, or thirty on ten datasets. More come from a mistaken column."""


def evidence_from_tables(
    table: Path | None,
    predictions: Path | None = None,
    *,
    control: str | None = None,
    correction: Correction = "holm",
    margin: float | None = None,
    metric: str | None = None,
    lower_is_better: Sequence[str] = (),
    source: Sequence[str] = (),
    name: str | None = None,
) -> Evidence:
    """What two tables say, checked: nothing is left out of it without a word.

    Where there are predictions, metrics are computed from them by ``harness.metrics.table.evaluate``.

    Args:
        table: CSV, TSV or parquet of ``method,dataset,seed,metric,value``; None where there are predictions only.
        predictions: likewise, of ``method,dataset,seed,case_id,label,logit_0,…``; None where there are none. Both may
            have the columns ``split``, ``search``, ``train_cases`` and ``test_cases``.
        control: the method that all others are compared with; None compares all pairs.
        correction: of the p values.
        margin: difference of the primary metric that counts as practically equal, above 0.
        metric: the primary one; it can be left out where the tables have but one, or where there are only predictions.
        lower_is_better: metrics of other names than those of ``harness.metrics.builtin`` of which less is better.
        source: ``DATASET=NAME`` for each dataset that shares a source with another; the others are sources of their
            own.
        name: of the comparison, by default that of the file.

    Raises:
        RequestError: a file or a cell is not what it should be, or the request does not fit to the tables.
    """
    if table is None and predictions is None:
        raise RequestError("neither results nor predictions are given; name a table with --table or --predictions")
    if margin is not None and not (margin > 0 and math.isfinite(margin)):
        raise RequestError(f"--margin {margin:g}: the margin is a difference of the metric above 0, such as 0.01")
    merged = MergedTables(
        None if table is None else read_results(table),
        None if predictions is None else PredictionTable(predictions),
        metric,
    )
    methods = merged.methods
    if len(methods) < 2:
        raise RequestError(f"{merged.files[0]}: {methods[0]!r} is the only method; a comparison needs two")
    pairs = len(methods) * (len(methods) - 1) // 2 * len(merged.datasets)
    if pairs > MOST_PAIRS_OF_METHODS:
        raise RequestError(
            f"{merged.files[0]}: {len(methods):,} methods on {len(merged.datasets):,} datasets are {pairs:,} pairs, "
            f"more than {MOST_PAIRS_OF_METHODS:,}; are the columns method and dataset the right ones?"
        )
    if control is not None and control not in methods:
        raise RequestError(f"--control {control}: the tables have no such method{suggestion(control, methods)}")
    cells = {
        (dataset, method): cell for dataset in merged.datasets for method, cell in merged.cells_of(dataset).items()
    }
    metrics = _metrics(merged, cells.values(), metric)
    _check_directions(lower_is_better, metrics)
    sources = dict(_named_source(given, merged.datasets) for given in source)
    groups: GroupState = "known" if merged.source is not None and merged.source.grouped else "unknown"
    return Evidence(
        name=merged.files[0].stem if name is None else name,
        source=f"the table{'s' if len(merged.files) > 1 else ''} {' and '.join(file.name for file in merged.files)}",
        plan=DeclaredPlan(
            metric=metrics[0],
            metrics=metrics,
            family="all_pairs" if control is None else "vs_control",
            control=control,
            correction=correction,
            margin=margin,
            known={
                **{name: MetricFacts(name, name, name, higher_is_better=False) for name in lower_is_better},
                **{name: one.facts() for name, one in built_in().items() if name in metrics or not one.on_request},
            },
            beforehand=False,
        ),
        datasets=merged.datasets,
        methods=methods,
        cells=cells,
        predictions=merged.predictions_of,
        classes=merged.classes,
        overlap=merged.overlap,
        provenance={
            dataset: Provenance(source=sources.get(dataset, dataset), groups=groups) for dataset in merged.datasets
        },
        cautions=(*_cautions(metrics, lower_is_better, bool(merged.overlap)), *merged.cautions()),
    )


def _metrics(merged: MergedTables, cells: Iterable[Cell], primary: str | None) -> tuple[str, ...]:
    """Every metric that is compared, the primary one first."""
    with_values = {name for cell in cells for name, values in cell.scores.items() if values}
    given = () if merged.results is None else merged.results.metrics
    computed = () if merged.source is None else COMPUTED
    if primary is None and len(given) > 1:
        raise RequestError(
            f"{merged.files[0]}: it has several metrics ({', '.join(given)}); say with --metric which one the claims "
            "are about"
        )
    if primary is not None and primary not in {*given, *with_values}:
        raise RequestError(
            f"--metric {primary}: the tables have no such metric{suggestion(primary, {*given, *computed})}"
        )
    first = (primary,) if primary is not None else (given or computed)[:1]
    return tuple(dict.fromkeys((*first, *given, *(one for one in computed if one in with_values))))


def _check_directions(lower_is_better: Sequence[str], metrics: Sequence[str]) -> None:
    for name in lower_is_better:
        if name in built_in() and built_in()[name].higher_is_better:
            raise RequestError(f"--lower-is-better {name}: of this metric higher is better; leave the option out")
        if name not in metrics:
            raise RequestError(f"--lower-is-better {name}: the tables have no such metric{suggestion(name, metrics)}")


def _named_source(given: str, datasets: Sequence[str]) -> tuple[str, str]:
    dataset, _, name = given.rpartition("=")
    if dataset not in datasets:
        meant = suggestion(dataset, datasets) if dataset else "; write DATASET=NAME"
        raise RequestError(f"--source {given}: the tables have no dataset {dataset!r}{meant}")
    if not is_source(name):
        raise RequestError(f"--source {given}: name the source by lower-case letters, digits, '.', '_' and '-'")
    return dataset, name


def _cautions(metrics: Sequence[str], lower_is_better: Sequence[str], several_splits: bool) -> Iterator[Caution]:
    tuned = several_splits * (
        " A configuration that was tuned on another split than it is tested on has seen some of its test images, and "
        "its scores may be too high; this cannot be checked either."
    )
    yield Caution(
        "unknown_conditions",
        "The tables do not say how the methods were tuned, on which devices they ran and how much a repetition with "
        f"the same seed changes; whether the comparison is fair in this cannot be checked here.{tuned}",
    )
    for name in metrics:
        if name not in built_in() and name not in lower_is_better:
            close = get_close_matches(name.casefold(), built_in(), n=1, cutoff=0.75)
            yield Caution(
                "assumed_direction",
                f"{name} is not a metric that is known here; higher values are taken as better"
                f"{f', and it is not taken as {close[0]}: write it so if that was meant' if close else ''}.",
            )
