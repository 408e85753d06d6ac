"""The score of each method against what it costs: hours, multiply-adds, memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analysis.comparison.compare import Analysis
from analysis.comparison.scores import MethodScore
from analysis.figures import drawing
from analysis.figures.methods import LABEL, label_points
from analysis.stats.scopes import scope_phrase, widest_first
from harness.pages.contents import PageFigure
from harness.pages.palette import PAPER, SEED, TINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Costs = Mapping[str, Mapping[tuple[str, str], float]]
"""What is paid, as the axis says it → (dataset, method) → how much, above 0; in the order of the panels."""


def score_against_costs(analysis: Analysis, costs: Costs, dataset: str, stem: str) -> tuple[PageFigure, ...]:
    """The mean score of each method on one dataset, a panel a cost; the panels share the axis of the score.

    A method has one height in all panels, so that its name stands once. A cost that no method shown has is left out,
    and nothing is drawn where that leaves none.
    """
    evidence = analysis.evidence
    plan = evidence.plan
    scored = [one for name in evidence.methods if (one := analysis.score(dataset, name)) and one.values]
    paid = {
        what: [(score, amounts[dataset, score.method]) for score in scored if (dataset, score.method) in amounts]
        for what, amounts in costs.items()
    }
    panels = {what: points for what, points in paid.items() if points}
    if not panels:
        return ()
    # The last panel bears the names: one that has all methods, where there is one.
    order = sorted(panels, key=lambda what: len(panels[what]))
    with drawing.canvas_of(0.7 + max(1.5, LABEL * len(scored) + 0.1)) as canvas:
        grid = drawing.grid(canvas, len(order), len(order), sharey=True)
        for axes, what in zip(grid, order, strict=True):
            _draw(axes, panels[what], [_mean(score) for score in scored])
            axes.set_xlabel(f"{what}\n(logarithmic)")
        canvas.supylabel(f"{plan.label(plan.metric)}\n(test split, {plan.direction})")
        drawing.lay_out(canvas)
        named = [(score.method, amount, _mean(score)) for score, amount in panels[order[-1]]]
        label_points(grid[-1], named)
        seeds = drawing.counted([len(score.values) for score in scored], "seed")
        scopes = "; or ".join(map(scope_phrase, widest_first(score.drawn for score in scored)))
        figure = drawing.finished(
            canvas,
            f"{dataset}: {plan.label(plan.metric)} ({plan.direction}; mean over {seeds} with "
            f"{drawing.percent(plan.confidence)} intervals) against what the methods cost. {_absent(panels, scored)}"
            f"Scope of the intervals: {scopes}. Costs are those of this run on its machines and have no interval.",
            f"{plan.label(plan.metric)} against costs on {dataset}: "
            + "; ".join(f"{what}: {_spoken(panels[what])}" for what in order),
            stem,
        )
    return (figure,)


def _draw(axes: Axes, points: list[tuple[MethodScore, float]], heights: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for height in heights:
        axes.axhline(height, color=TINT, linewidth=0.6, zorder=0)
    for score, amount in points:
        interval = None if score.widest is None else score.widest[1]
        if interval is not None and interval.low is not None and interval.high is not None:
            axes.plot([amount] * 2, [interval.low, interval.high], color=SEED, linewidth=0.9, zorder=1)
        axes.plot(
            [amount], [_mean(score)], marker="o", markersize=4.5, markerfacecolor=PAPER, markeredgecolor=SEED, zorder=2
        )
    amounts = [amount for _, amount in points]
    axes.set_xscale("log")
    axes.set_xlim(10 ** _down(min(amounts)), 10 ** _up(max(amounts)))
    axes.xaxis.set_major_locator(LogLocator(numticks=3))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda amount, _: f"{amount:.0e}".replace("e+0", "e").replace("e-0", "e-"))
    )
    axes.xaxis.set_minor_formatter(NullFormatter())


def _mean(score: MethodScore) -> float:
    return math.fsum(score.values) / len(score.values)


def _down(amount: float) -> int:
    return math.ceil(math.log10(amount)) - 1


def _up(amount: float) -> int:
    return math.floor(math.log10(amount)) + 1


def _absent(panels: Mapping[str, list[tuple[MethodScore, float]]], scored: list[MethodScore]) -> str:
    """Which methods a panel lacks, as a sentence with a space behind it."""
    said = []
    for what, points in panels.items():
        shown = {score.method for score, _ in points}
        missing = [score.method for score in scored if score.method not in shown]
        if missing:
            said.append(f"{what}: {', '.join(missing)}")
    return f"Not recorded: {'; '.join(said)}. " if said else ""


def _spoken(points: list[tuple[MethodScore, float]]) -> str:
    return ", ".join(f"{score.method} {_mean(score):.3f} at {amount:.3g}" for score, amount in points)
