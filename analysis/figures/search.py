"""Figures of the search: what a budget buys, and which hyperparameters mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.contents import Figure, sheet_stem
from analysis.figures import drawing
from analysis.figures.drawing import FAINT, INK, SEED, SMALL, TINT
from analysis.figures.importance import CHANCE, FEWEST_TRIALS, SearchImportance, importances, slot_scores
from analysis.stats.budget_curve import BudgetCurve, budget_curve
from harness.metrics import METRICS

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

_PANELS = 15


def parts(trials: pl.DataFrame, metric: str) -> list[pl.DataFrame]:
    """The rows and columns of ``trials`` that the figures of each dataset need, by name of the dataset."""
    columns = ["dataset", "method", "stage", "slot", "seed", "status", "chosen", f"val_{metric}", "hyperparameters"]
    own = trials.select(columns).drop_nulls("dataset").partition_by("dataset", as_dict=True)
    return [own[key] for key in sorted(own)]


def share_panels(trials: pl.DataFrame, metric: str) -> bool:
    """Whether so few methods were searched that one panel has room for all."""
    return slot_scores(trials, metric)["method"].n_unique() <= len(drawing.LINES)


def budget(
    trials: pl.DataFrame, metric: str, stem: str, confidence: float = 0.95, shared: bool | None = None
) -> tuple[Figure, ...]:
    """Expected best validation score of so many search trials, with the interval of the median best.

    Up to six methods share a panel, one a dataset; more have a panel each and a figure a dataset.

    Args:
        trials: ``frames.trials`` of a run.
        metric: that the search optimised, without its prefix.
        stem: file name without its suffix.
        confidence: of the intervals, at each single number of trials.
        shared: whether methods share panels; what ``share_panels`` says of these trials if None.
    """
    curves: dict[str, dict[str, BudgetCurve]] = {}
    for (dataset, method), own in sorted(slot_scores(trials, metric).group_by(["dataset", "method"])):
        curve = budget_curve(own["score"].to_numpy(), confidence, METRICS[metric])
        curves.setdefault(str(dataset), {})[str(method)] = curve
    methods = sorted({method for own in curves.values() for method in own})
    drawn: list[Figure] = []
    if share_panels(trials, metric) if shared is None else shared:
        for part in drawing.sheets(list(curves), 5):
            with drawing.canvas_of(1.15 + 1.75 * len(part)) as canvas:
                grid = drawing.grid(canvas, len(part), 1, sharex=True)
                names = drawing.short_names(methods)
                lines: dict[str, Any] = {}
                for axes, dataset in zip(grid, part, strict=True):
                    axes.set_title(drawing.short_names([dataset], 60)[dataset])
                    for method, curve in curves[dataset].items():
                        line = drawing.LINES[methods.index(method)]
                        lines[method] = _draw_budget(axes, curve, *line, alone=False)
                shown = [method for method in methods if method in lines]
                canvas.legend(
                    [lines[method] for method in shown], [names[method] for method in shown],
                    loc="outside upper left", ncols=2, handlelength=3.2,
                )  # fmt: skip
                drawn.append(_budget_figure(canvas, curves, part, metric, sheet_stem(stem, len(drawn)), trials, False))
        return tuple(drawn)
    for dataset, known in curves.items():
        for part in drawing.sheets(list(known), _PANELS):
            with drawing.canvas_of(0.6 + 1.45 * -(-len(part) // 3)) as canvas:
                names = drawing.short_names(list(known), 16)
                for axes, method in zip(
                    drawing.grid(canvas, len(part), 3, sharex=True, sharey=True), part, strict=True
                ):
                    for other in known:
                        if other != method:
                            expected = known[other].expected
                            axes.plot(range(1, len(expected) + 1), expected, color=FAINT, linewidth=0.7, zorder=1)
                    _draw_budget(axes, known[method], SEED, "-", alone=True)
                    axes.set_title(names[method])
                shown_only = {dataset: {method: known[method] for method in part}}
                drawn.append(
                    _budget_figure(canvas, shown_only, [dataset], metric, sheet_stem(stem, len(drawn)), trials, True)
                )
    return tuple(drawn)


def _draw_budget(axes: Axes, curve: BudgetCurve, colour: str, style: Any, alone: bool) -> Any:
    """The curve with its band, as far as that is bounded; returns the line."""
    from matplotlib.ticker import MaxNLocator

    number = np.arange(1, len(curve.expected) + 1)
    bounded = np.isfinite(curve.low) & np.isfinite(curve.high)
    axes.fill_between(
        number, np.where(bounded, curve.low, 0), np.where(bounded, curve.high, 0), where=bounded, color=colour,
        alpha=0.25 if alone else 0.1, linewidth=0, zorder=2,
    )  # fmt: skip
    for bound in (curve.low, curve.high) if alone else ():
        axes.plot(number, np.where(np.isfinite(bound), bound, np.nan), color=colour, linewidth=0.4, zorder=2)
    marker = "o" if len(number) == 1 else ""
    (line,) = axes.plot(number, curve.expected, color=colour, linestyle=style, linewidth=1.4, marker=marker, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return line


def _budget_figure(
    canvas: Any, curves: Mapping[str, Mapping[str, BudgetCurve]], part: Sequence[str], metric: str, stem: str,
    trials: pl.DataFrame, alone: bool,
) -> Figure:  # fmt: skip
    import polars as pl

    canvas.supxlabel("Search trials")
    canvas.supylabel(
        f"Best {drawing.metric_name(metric)}\n(validation, {'higher' if METRICS[metric] else 'lower'} is better)"
    )
    shown = [curve for name in part for curve in curves[name].values()]
    slots = trials.filter((pl.col("stage") == "search") & pl.col("dataset").is_in(list(part)))
    begun = sum(
        slots.filter((pl.col("dataset") == name) & (pl.col("method") == method))["slot"].n_unique()
        for name in part
        for method in curves[name]
    )
    lost = begun - sum(len(curve.expected) for curve in shown)
    return drawing.finished(
        canvas,
        f"{', '.join(part)}: best {drawing.metric_name(metric)} on the validation split after so many of "
        f"{drawing.counted([len(curve.expected) for curve in shown], 'search trial')}. Line: expected best (unbiased, "
        f"without replacement); shaded: {drawing.percent(shown[0].confidence)} interval of the median best, where so "
        "few trials bound it on both sides"
        + ("; thin line: the bound that there is; grey: the other methods" if alone else "")
        + ". Scope: new random trials from the same search space; after a sampler that learns, the same trials in "
        "random order. Validation scores are optimistic."
        + (f" Left out, without a score: {drawing.counted([lost], 'trial')}." if lost else ""),
        f"Expected best validation {drawing.metric_name(metric)} by number of search trials; at the end: "
        + ", ".join(
            f"{name} {method} {curve.expected[-1]:.3f}" for name in part for method, curve in curves[name].items()
        ),
        stem,
    )


def importance(trials: pl.DataFrame, metric: str, stem: str) -> tuple[Figure, ...]:
    """The share of the search's variance behind each hyperparameter, and that behind the seed.

    A panel a study that has at least ``importance.FEWEST_TRIALS`` finished trials; nothing is drawn without one.

    Args:
        trials: ``frames.trials`` of a run.
        metric: that the search optimised, without its prefix.
        stem: file name without its suffix.
    """
    known = [one for one in importances(trials, metric) if one.importances]
    drawn: list[Figure] = []
    for dataset in dict.fromkeys(one.dataset for one in known):
        own = [one for one in known if one.dataset == dataset]
        rows = max(len(one.importances) for one in own)
        height = 0.4 + 0.2 * max(2, rows)
        for part in drawing.sheets(own, 2 * max(1, int(11 / height))):
            columns = min(2, len(part))
            with drawing.canvas_of(0.55 + height * -(-len(part) // columns)) as canvas:
                titles = drawing.titles([one.method for one in own], [one.trials for one in own], 22)
                for axes, one in zip(drawing.grid(canvas, len(part), columns, sharex=True), part, strict=True):
                    _draw_importance(axes, one, rows)
                    axes.set_title(titles[one.method])
                canvas.supxlabel("Share of the variance between search trials")
                drawn.append(
                    drawing.finished(
                        canvas,
                        _importance_caption(dataset, metric, [one.trials for one in own]),
                        f"Importance of hyperparameters on {dataset}: " + "; ".join(map(_spoken, part)),
                        sheet_stem(stem, len(drawn)),
                    )
                )
    return tuple(drawn)


def _importance_caption(dataset: str, metric: str, trials: Sequence[int]) -> str:
    return (
        f"{dataset}: importance of each hyperparameter in the search, {drawing.counted(trials, 'finished trial')}. "
        f"Bar: share of the variance of the validation {drawing.metric_name(metric)} that lies between three groups of "
        "trials of equal size by its value (or one group a category), corrected for the number of groups (epsilon "
        "squared of a one-way analysis of variance; below 0 drawn as 0). Tick: what "
        f"{drawing.percent(CHANCE)} of random rearrangements of the scores stay below. Hatched from the right: share "
        "that other seeds alone would give, from the confirm seeds of the chosen configuration. Scope: these trials, "
        "described; after a sampler that learns, values are not spread evenly. Searches with fewer than "
        f"{FEWEST_TRIALS} finished trials are left out."
    )


def _draw_importance(axes: Axes, one: SearchImportance, rows: int) -> None:
    if one.seed_noise is not None:
        axes.axvspan(1 - one.seed_noise, 1, facecolor=TINT, edgecolor=FAINT, hatch="////", linewidth=0, zorder=0)
    for row, importance in enumerate(one.importances):
        axes.barh(row, max(0.0, importance.share), height=0.55, color=SEED, zorder=2)
        chance = max(0.0, importance.by_chance)
        axes.plot([chance, chance], [row - 0.36, row + 0.36], color=INK, linewidth=1.1, zorder=3)
    names = drawing.short_names([importance.name for importance in one.importances], 16)
    drawing.rows_of(axes, list(names.values()))
    axes.set_ylim(max(2, rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(axis="y", labelsize=SMALL)


def _spoken(one: SearchImportance) -> str:
    return f"{one.method} " + ", ".join(f"{part.name} {max(0.0, part.share):.2f}" for part in one.importances)
