"""Figure of the search: the expected best score against what was spent, in trials and in hours of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.figures import drawing
from analysis.figures.drawing import SMALL
from analysis.figures.importance import slot_scores
from analysis.stats.budget_curve import BudgetCurve, budget_curve
from analysis.stats.estimate import FloatArray
from harness.metrics.facts import MetricFacts
from harness.pages.contents import PageFigure, sheet_stem
from harness.pages.palette import FAINT, LINES, SEED

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_PANELS = 15
_ABOVE_TICKS = 22.0  # points


@dataclass(frozen=True, slots=True)
class Search:
    """The search of one method on one dataset."""

    curve: BudgetCurve
    hours: float | None
    """Mean training time of one trial, its search seeds together; None where a finished one recorded none."""

    @property
    def trials(self) -> FloatArray:
        """What the points of the curve cost in trials, shape (B,)."""
        return np.arange(1.0, len(self.curve.expected) + 1)


def parts(trials: pl.DataFrame, metric: str) -> list[pl.DataFrame]:
    """The rows and columns of ``trials`` that the figures of each dataset need, by name of the dataset."""
    columns = [
        "dataset", "method", "stage", "search_number", "slot", "seed", "status", "chosen", f"val_{metric}",
        "hyperparameters", "train_seconds", "device",
    ]  # fmt: skip
    own = trials.select(columns).drop_nulls("dataset").partition_by("dataset", as_dict=True)
    return [own[key] for key in sorted(own)]


def share_panels(trials: pl.DataFrame, metric: str) -> bool:
    """Whether so few methods were searched that one panel has room for all."""
    return slot_scores(trials, metric)["method"].n_unique() <= len(LINES)


def budget(
    trials: pl.DataFrame, metric: MetricFacts, stem: str, confidence: float = 0.95, shared: bool | None = None
) -> tuple[PageFigure, ...]:
    """Expected best validation score against the search trials, and against the hours of training that they took.

    Up to six methods share two panels a dataset, one by trials and one by hours; more have a panel each, with the hours
    on its upper axis, and a figure a dataset.

    Args:
        trials: ``frames.trials`` of a run.
        metric: that the search optimised.
        stem: file name without its suffix.
        confidence: of the intervals, at each single number of trials.
        shared: whether methods share panels; what ``share_panels`` says of these trials if None.
    """
    known = _searches(trials, metric, confidence)
    label = _hours_label(trials, known)
    methods = sorted({method for own in known.values() for method in own})
    drawn: list[PageFigure] = []
    if share_panels(trials, metric.name) if shared is None else shared:
        for part in drawing.sheets(list(known), 5):
            shown = {name: known[name] for name in part}
            with drawing.canvas_of(1.15 + 1.75 * len(part)) as canvas:
                _draw_together(canvas, shown, methods, label)
                drawn.append(_figure(canvas, shown, metric, sheet_stem(stem, len(drawn)), trials, label, False))
        return tuple(drawn)
    for dataset, own in known.items():
        for part in drawing.sheets(list(own), _PANELS):
            with drawing.canvas_of(0.6 + (1.45 if label is None else 1.85) * -(-len(part) // 3)) as canvas:
                _draw_apart(canvas, own, part, label)
                shown = {dataset: {method: own[method] for method in part}}
                drawn.append(_figure(canvas, shown, metric, sheet_stem(stem, len(drawn)), trials, label, True))
    return tuple(drawn)


def _searches(trials: pl.DataFrame, metric: MetricFacts, confidence: float) -> dict[str, dict[str, Search]]:
    """Dataset → method → its search."""
    known: dict[str, dict[str, Search]] = {}
    for (dataset, method), own in sorted(slot_scores(trials, metric.name).group_by(["dataset", "method"])):
        curve = budget_curve(own["score"].to_numpy(), confidence, metric.higher_is_better)
        seconds = own["seconds"]
        hours = None if seconds.null_count() or not (total := float(seconds.sum())) else total / len(seconds) / 3600
        known.setdefault(str(dataset), {})[str(method)] = Search(curve, hours)
    return known


def _hours_label(trials: pl.DataFrame, known: Mapping[str, Mapping[str, Search]]) -> str | None:
    """Of the axis of hours; None where the hours of some search are not known."""
    import polars as pl

    if any(search.hours is None for own in known.values() for search in own.values()):
        return None
    devices = trials.filter((pl.col("stage") == "search") & (pl.col("status") == "done"))["device"].unique()
    on_cpu = devices == "cpu"
    if on_cpu.null_count() or (on_cpu.any() and not on_cpu.all()):
        return "Hours of training"
    return "CPU-hours of training" if on_cpu.all() else "GPU-hours of training"


def _draw_together(
    canvas: Canvas, shown: Mapping[str, Mapping[str, Search]], methods: Sequence[str], label: str | None
) -> None:
    """A row a dataset: by trials, and beside it by hours."""
    columns = 1 if label is None else 2
    grid = drawing.grid(canvas, columns * len(shown), columns, sharex="col", sharey="row")
    names = drawing.short_names(methods)
    lines: dict[str, Any] = {}
    for row, (dataset, own) in enumerate(shown.items()):
        by_trials, *by_hours = grid[columns * row : columns * (row + 1)]
        by_trials.set_title(drawing.short_names([dataset], 60)[dataset])
        for method, search in own.items():
            style = LINES[methods.index(method)]
            lines[method] = _draw(by_trials, search.trials, search.curve, *style, alone=False)
            for axes in by_hours:
                _draw(axes, search.trials * (search.hours or 0.0), search.curve, *style, alone=False)
        _whole_numbers(by_trials)
        for axes in by_hours:
            drawing.few_ticks(axes, 4)
    for axes, text in zip(grid[-columns:], ("Search trials", label), strict=False):
        axes.set_xlabel(text or "")
    known = [method for method in methods if method in lines]
    canvas.legend(
        [lines[method] for method in known], [names[method] for method in known],
        loc="outside upper left", ncols=2, handlelength=3.2,
    )  # fmt: skip


def _draw_apart(canvas: Canvas, own: Mapping[str, Search], part: Sequence[str], label: str | None) -> None:
    """A panel a method, the other methods in grey behind it; its hours on the upper axis."""
    names = drawing.short_names(list(own), 16)
    grid = drawing.grid(canvas, len(part), 3, sharex=True, sharey=True)
    for axes, method in zip(grid, part, strict=True):
        others = [search for other, search in own.items() if other != method]
        behind = [(search.trials, search.curve.expected) for search in others]
        drawing.strokes(axes, behind, color=FAINT, linewidth=0.7, zorder=1)
        search = own[method]
        _draw(axes, search.trials, search.curve, SEED, "-", alone=True)
        _whole_numbers(axes)
        axes.set_title(names[method], pad=None if label is None else _ABOVE_TICKS)
        if search.hours is not None and label is not None:
            _upper_axis(axes, search.hours)
    canvas.supxlabel("Search trials" if label is None else f"Search trials (above each panel: {label})")


def _upper_axis(axes: Axes, hours: float) -> None:
    from matplotlib.ticker import MaxNLocator

    def spent(trials: Any) -> Any:
        return trials * hours

    def bought(spent: Any) -> Any:
        return spent / hours

    upper = axes.secondary_xaxis("top", functions=(spent, bought))
    upper.xaxis.set_major_locator(MaxNLocator(3))
    upper.tick_params(labelsize=SMALL)


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def _draw(axes: Axes, spent: FloatArray, curve: BudgetCurve, colour: str, style: Any, alone: bool) -> Any:
    """The curve with its band, as far as that is bounded; returns the line."""
    from matplotlib.ticker import MaxNLocator

    bounded = np.isfinite(curve.low) & np.isfinite(curve.high)
    axes.fill_between(
        spent, np.where(bounded, curve.low, 0), np.where(bounded, curve.high, 0), where=bounded, color=colour,
        alpha=0.25 if alone else 0.1, linewidth=0, zorder=2,
    )  # fmt: skip
    if alone:
        bounds = [(spent, np.where(np.isfinite(bound), bound, np.nan)) for bound in (curve.low, curve.high)]
        drawing.strokes(axes, bounds, color=colour, linewidth=0.4, zorder=2)
    marker = "o" if len(spent) == 1 else ""
    (line,) = axes.plot(spent, curve.expected, color=colour, linestyle=style, linewidth=1.4, marker=marker, zorder=3)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return line


def _figure(
    canvas: Canvas, searches: Mapping[str, Mapping[str, Search]], metric: MetricFacts, stem: str, trials: pl.DataFrame,
    label: str | None, alone: bool,
) -> PageFigure:  # fmt: skip
    import polars as pl

    canvas.supylabel(f"Best {metric.label}\n(validation, {metric.direction})")
    curves = {(name, method): search.curve for name, own in searches.items() for method, search in own.items()}
    shown = list(curves.values())
    slots = trials.filter((pl.col("stage") == "search") & pl.col("dataset").is_in(list(searches)))
    begun = sum(
        slots.filter((pl.col("dataset") == name) & (pl.col("method") == method))
        .select("search_number", "slot")
        .n_unique()
        for name, method in curves
    )
    lost = begun - sum(len(curve.expected) for curve in shown)
    return drawing.finished(
        canvas,
        f"{', '.join(searches)}: best {metric.label} on the validation split by number of trials "
        f"({drawing.counted([len(curve.expected) for curve in shown], 'search trial')} in all). "
        "Line: expected best (unbiased, without replacement); shaded: "
        f"{drawing.percent(shown[0].confidence)} interval of the median best, where so few trials bound it on both "
        "sides"
        + ("; thin line: the bound that there is; grey: the other methods" if alone else "")
        + ("" if label is None else f". {label}: trials times the method's mean training time of one finished trial")
        + ". Scope: new random trials from the same search space; after a sampler that learns, the same trials in "
        "random order. Validation scores are optimistic."
        + (f" Left out, without a score: {drawing.counted([lost], 'trial')}." if lost else ""),
        f"Expected best validation {metric.label} by number of search trials; at the end: "
        + ", ".join(f"{name} {method} {curve.expected[-1]:.3f}" for (name, method), curve in curves.items()),
        stem,
    )
