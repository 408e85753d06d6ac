"""Figures of one method at a time: seeds with their mean and interval, and learning curves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from analysis.figures import drawing
from harness.metrics.facts import MetricFacts
from harness.pages.contents import PageFigure
from harness.pages.palette import FAINT, SEED

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes


def stems(prefix: str, labels: Iterable[str]) -> dict[str, str]:
    """Label → a file name without suffix, distinct and free of awkward characters."""
    names: dict[str, str] = {}
    for label in sorted(labels):
        stem = f"{prefix}_{re.sub(r'[^A-Za-z0-9.-]+', '_', label)}"
        while stem in names.values():
            stem += "_"
        names[label] = stem
    return names


def learning_curves(curves: pl.DataFrame, dataset: str, metric: MetricFacts, stem: str) -> PageFigure | None:
    """Validation ``metric`` by epoch of the chosen configurations, a panel a method; None without curves.

    The median and the band from the lowest to the highest seed are drawn as far as every seed ran; where
    early stopping has ended some of them, the median of the others goes on as a dotted line.

    Args:
        curves: ``frames.curves`` of the whole run.
        dataset: whose curves to draw.
        metric: for the axis.
        stem: file name without its suffix.
    """
    import polars as pl
    from matplotlib.ticker import MaxNLocator

    own = curves.filter((pl.col("dataset") == dataset) & pl.col("value").is_not_null())
    methods = sorted(own["method"].unique())
    if not methods:
        return None
    value, names = pl.col("value"), drawing.short_names(methods, 13)
    seeds = dict(own.group_by("method").agg(pl.col("seed").n_unique()).iter_rows())
    lines = {
        str(method): line
        for (method,), line in own.group_by(["method", "epoch"])
        .agg(value.median().alias("median"), value.min().alias("low"), value.max().alias("high"), pl.len())
        .sort("epoch")
        .group_by(["method"])
    }
    columns = 2 if len(methods) == 4 else min(3, len(methods))
    with drawing.canvas_of(0.7 + 1.5 * -(-len(methods) // columns)) as canvas:
        panels = drawing.grid(canvas, len(methods), columns, sharex=True, sharey=True)
        for panel, method in zip(panels, methods, strict=True):
            behind = [(lines[other]["epoch"], lines[other]["median"]) for other in methods if other != method]
            drawing.strokes(panel, behind, color=FAINT, linewidth=0.8, zorder=1)
            _draw_curve(panel, lines[method], seeds[method])
            panel.set_title(f"{names[method]} (n = {seeds[method]})")
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        canvas.supxlabel("Epoch")
        canvas.supylabel(f"{metric.label}, validation")
        return drawing.finished(
            canvas,
            f"{dataset}: learning curves of the chosen configurations. Line: median over n seeds; band: "
            "lowest to highest seed; dotted: median of the seeds that early stopping has left; grey: the other "
            "methods. Scope: these seeds, described.",
            f"Validation {metric.label} by epoch on {dataset}, one panel a method",
            stem,
        )


def _draw_curve(axes: Axes, line: pl.DataFrame, seeds: int) -> None:
    import polars as pl

    whole = line.filter(pl.col("len") == seeds)
    marker = "o" if line.height == 1 else ""
    axes.fill_between(whole["epoch"], whole["low"], whole["high"], color=SEED, alpha=0.25, linewidth=0, zorder=2)
    axes.plot(line["epoch"], line["median"], color=SEED, linewidth=1.2, linestyle=":", zorder=3)
    axes.plot(whole["epoch"], whole["median"], color=SEED, linewidth=1.4, marker=marker, markersize=4, zorder=4)
