"""The figures: seeds with their mean and interval, and learning curves.

Colours are from the palette of Okabe and Ito (jfly.uni-koeln.de/color), which survives the common
deficiencies of colour vision; shapes and line styles alone tell the marks apart, so a grey print is enough.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from analysis.contents import Figure
from analysis.summary import LOWER_IS_BETTER, Study
from analysis.tables import METRIC_NAMES

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, FAINT, SEED, MEAN = "#1b1b1b", "#c4c4c4", "#0072b2", "#d55e00"
_WIDTH = 5.6  # inches
_STYLE: dict[str, Any] = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "font.size": 10,
    "svg.fonttype": "path",
    "svg.hashsalt": "gpaf-bench",
    "text.parse_math": False,  # a label may hold a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.formatter.use_mathtext": False,
    **dict.fromkeys(
        (
            "text.color",
            "axes.edgecolor",
            "axes.labelcolor",
            "axes.titlecolor",
            "xtick.color",
            "ytick.color",
        ),
        INK,
    ),
}


def stems(prefix: str, labels: Iterable[str]) -> dict[str, str]:
    """Label → a file name without suffix, distinct and free of awkward characters."""
    names: dict[str, str] = {}
    for label in sorted(labels):
        stem = f"{prefix}_{re.sub(r'[^A-Za-z0-9.-]+', '_', label)}"
        while stem in names.values():
            stem += "_"
        names[label] = stem
    return names


def seed_strip(studies: Sequence[Study], dataset: str, metric: str, stem: str) -> Figure | None:
    """Test ``metric`` of every confirm seed, mean and 95 % t interval; None without a confirmed study."""
    shown = [study for study in studies if study.scores[metric].interval is not None]
    if not shown:
        return None
    with _canvas(0.75 + 0.42 * len(shown)) as canvas:
        axes = canvas.subplots()
        for place, study in enumerate(shown):
            score = study.scores[metric]
            interval = score.interval
            assert interval is not None
            axes.axhline(place, color=FAINT, linewidth=0.4, zorder=0)
            axes.plot(
                [value for value in score.values.values() if value is not None],
                [place - 0.14] * len(score.values),
                linestyle="none",
                marker="o",
                markersize=4.5,
                markerfacecolor="none",
                markeredgecolor=SEED,
                clip_on=False,
            )
            if interval.low is not None and interval.high is not None:
                axes.plot([interval.low, interval.high], [place + 0.18] * 2, color=MEAN, linewidth=1.4)
            axes.plot([interval.mean], [place + 0.18], marker="D", markersize=4.5, color=MEAN)
            axes.annotate(
                f"n = {interval.n}",
                (1.01, place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8.5,
            )
        axes.set_yticks(range(len(shown)), [_short(study.method) for study in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.04)
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        axes.set_xlabel(f"{METRIC_NAMES[metric]}, test split ({better} is better)")
        svg, png = _encode(canvas)
    return Figure(
        caption=f"{dataset}: each seed (circle), their mean (diamond) and 95 % t interval (line). "
        "Scope: retraining on this data, scored on this test set.",
        alt=f"{METRIC_NAMES[metric]} of each confirm seed on {dataset}; numbers in Table 1",
        stem=stem,
        svg=svg,
        png=png,
    )


def learning_curves(curves: pl.DataFrame, dataset: str, metric: str, stem: str) -> Figure | None:
    """Validation ``metric`` by epoch of the chosen configurations, a panel a method; None without curves.

    The median and the band from the lowest to the highest seed are drawn as far as every seed ran; where
    early stopping has ended some of them, the median of the others goes on as a dotted line.

    Args:
        curves: ``frames.curves`` of the whole run.
        dataset: whose curves to draw.
        metric: name of the metric, for the axis.
        stem: file name without its suffix.
    """
    import polars as pl

    own = curves.filter((pl.col("dataset") == dataset) & pl.col("value").is_not_null())
    methods = sorted(own["method"].unique())
    if not methods:
        return None
    columns = 2 if len(methods) == 4 else min(3, len(methods))
    rows = -(-len(methods) // columns)
    with _canvas(0.5 + 1.65 * rows) as canvas:
        grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels = list(grid.flat)
        for panel in panels[len(methods) :]:
            panel.set_visible(False)
        # A shared axis shows tick labels in the last row only, which some columns do not reach.
        for panel in panels[max(0, len(methods) - columns) : len(methods)]:
            panel.tick_params(labelbottom=True)
        for panel, method in zip(panels, methods, strict=False):
            for other in methods:
                if other != method:
                    _draw_curve(panel, own.filter(pl.col("method") == other), background=True)
            seeds = _draw_curve(panel, own.filter(pl.col("method") == method), background=False)
            panel.set_title(f"{_short(method)} (n = {seeds})", fontsize=9, loc="left")
            panel.xaxis.get_major_locator().set_params(integer=True)
        canvas.supxlabel("Epoch", fontsize=10)
        canvas.supylabel(f"{METRIC_NAMES[metric]}, validation", fontsize=10)
        svg, png = _encode(canvas)
    return Figure(
        caption=f"{dataset}: learning curves of the chosen configurations. Line: median over seeds; band: "
        "lowest to highest seed; dotted: median of the seeds that early stopping has left; grey: the other "
        "methods.",
        alt=f"Validation {METRIC_NAMES[metric].lower()} by epoch on {dataset}, one panel a method",
        stem=stem,
        svg=svg,
        png=png,
    )


def _draw_curve(axes: Axes, curve: pl.DataFrame, background: bool) -> int:
    import polars as pl

    value = pl.col("value")
    by_epoch = (
        curve.group_by("epoch")
        .agg(value.median().alias("median"), value.min().alias("low"), value.max().alias("high"), pl.len())
        .sort("epoch")
    )
    seeds = int(curve["seed"].n_unique())
    whole = by_epoch.filter(pl.col("len") == seeds)
    if background:
        axes.plot(by_epoch["epoch"], by_epoch["median"], color=FAINT, linewidth=0.8, zorder=1)
        return seeds
    marker = "o" if by_epoch.height == 1 else ""
    axes.fill_between(whole["epoch"], whole["low"], whole["high"], color=SEED, alpha=0.25, linewidth=0, zorder=2)
    axes.plot(by_epoch["epoch"], by_epoch["median"], color=SEED, linewidth=1.2, linestyle=":", zorder=3)
    axes.plot(whole["epoch"], whole["median"], color=SEED, linewidth=1.4, marker=marker, markersize=4, zorder=4)
    return seeds


@contextmanager
def _canvas(height: float) -> Iterator[Canvas]:
    """A canvas of the report's width, ``height`` in inches, that no setting of the user's reaches."""
    from matplotlib import style
    from matplotlib.figure import Figure as Canvas

    with style.context(["default", _STYLE]):
        yield Canvas(figsize=(_WIDTH, height), layout="constrained")


def _encode(canvas: Canvas) -> tuple[bytes, bytes]:
    svg, png = io.BytesIO(), io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(svg, format="svg", transparent=True, metadata=nothing)
    canvas.savefig(png, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def _short(label: str) -> str:
    return label if len(label) <= 24 else f"{label[:23]}…"
