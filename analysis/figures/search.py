"""Figures of the search: which hyperparameters mattered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.figures import drawing
from analysis.figures.drawing import SMALL
from analysis.figures.importance import CHANCE, FEWEST_TRIALS, SearchImportance, importances
from harness.metrics.facts import MetricFacts
from harness.pages.contents import PageFigure, sheet_stem
from harness.pages.palette import FAINT, INK, SEED, TINT

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes


def importance(trials: pl.DataFrame, metric: MetricFacts, stem: str) -> tuple[PageFigure, ...]:
    """The share of the search's variance behind each hyperparameter, and that behind the seed.

    A panel a study that has at least ``importance.FEWEST_TRIALS`` finished trials; nothing is drawn without one.

    Args:
        trials: ``frames.trials`` of a run.
        metric: that the search optimised.
        stem: file name without its suffix.
    """
    known = [one for one in importances(trials, metric.name) if one.importances]
    drawn: list[PageFigure] = []
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


def _importance_caption(dataset: str, metric: MetricFacts, trials: Sequence[int]) -> str:
    return (
        f"{dataset}: importance of each hyperparameter in the search, {drawing.counted(trials, 'finished trial')}. "
        f"Bar: share of the variance of the validation {metric.label} that lies between three groups of "
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
