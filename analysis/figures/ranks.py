"""Mean ranks over many datasets with Nemenyi's critical difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.comparison.compare import Analysis
from analysis.comparison.new_datasets import ranks_of
from analysis.comparison.phrases import friedman_phrase
from analysis.figures import drawing
from analysis.figures.drawing import SMALL
from analysis.stats import ranks
from analysis.stats.cautions import MANY_DATASETS
from harness.pages.contents import PageFigure
from harness.pages.palette import FAINT, INK, MEAN, SEED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVEL, _ROW = 0.11, 0.19  # inches


def critical_difference(analysis: Analysis, stem: str) -> tuple[PageFigure, ...]:
    """The diagram of Demsar (JMLR 7, 2006) from each method's mean over seeds on each source of datasets.

    Methods without a score on every dataset are left out; nothing is drawn for fewer than three.

    Raises:
        Refused: fewer than six sources.
    """
    evidence, plan = analysis.evidence, analysis.evidence.plan
    count = len(evidence.sources)
    noun = f"{evidence.unit}s"
    found = ranks_of(analysis)
    if found is None:
        return ()
    complete, test = found.methods, found.test
    width = ranks.critical_difference(len(complete), count, plan.alpha)
    order = sorted(range(len(complete)), key=lambda place: test.mean_ranks[place])
    methods, mean_ranks = [complete[place] for place in order], [test.mean_ranks[place] for place in order]
    groups = cliques(mean_ranks, width)
    few = count < MANY_DATASETS
    omitted = [method for method in evidence.methods if method not in complete]
    with drawing.canvas_of(0.95 + _LEVEL * len(groups) + _ROW * -(-len(methods) // 2)) as canvas:
        axes = canvas.subplots()
        if few:
            axes.text(
                0.5, 0.3, f"{count} {noun}: thin evidence", transform=axes.transAxes, ha="center",
                va="center", fontsize=17, color=FAINT, alpha=0.75, zorder=0,
            )  # fmt: skip
        _draw_ranks(axes, methods, mean_ranks, groups, width)
        return (
            drawing.finished(
                canvas,
                f"Mean ranks of {plan.label(plan.metric)} (mean over seeds on the test split; 1 is best) over "
                f"{count} {noun}. Scope: new datasets like these"
                + (f"; fewer than {MANY_DATASETS} are thin evidence for that" if few else "")
                + f". Bars join methods that Nemenyi's test does not tell apart (critical difference CD = {width:.2f}, "
                f"alpha = {plan.alpha:g}), which does not mean that they are alike. Friedman's test: "
                f"{friedman_phrase(test, plan.alpha)}. Ranks change with the set of methods."
                + (f" Left out, without a score on every dataset: {', '.join(omitted)}." if omitted else ""),
                "Critical difference diagram, mean ranks: "
                + ", ".join(f"{name} {rank:.2f}" for name, rank in zip(methods, mean_ranks, strict=True)),
                stem,
            ),
        )


def cliques(mean_ranks: Sequence[float], width: float) -> list[tuple[int, int]]:
    """First and last place of each longest run of ranks that spans less than ``width``.

    Args:
        mean_ranks: ascending.
        width: the critical difference.

    Returns:
        Runs of at least two, none inside another.
    """
    runs: list[tuple[int, int]] = []
    for start, rank in enumerate(mean_ranks):
        end = max(place for place, other in enumerate(mean_ranks) if other - rank < width)
        if end > start and (not runs or end > runs[-1][1]):
            runs.append((start, end))
    return runs


def _draw_ranks(
    axes: Axes, methods: Sequence[str], mean_ranks: Sequence[float], groups: Sequence[tuple[int, int]], width: float
) -> None:
    """An axis of ranks on top, bars below it, and the names at both sides, the best half on the left. In inches."""
    count, names = len(methods), drawing.short_names(methods, 20)
    half = -(-count // 2)
    first_row = _LEVEL * (len(groups) + 1) + 0.12
    spare = 0.04 * (count - 1)
    axes.plot([1, count], [0, 0], color=INK, linewidth=0.8)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, -0.06], color=INK, linewidth=0.6)
    for tick in range(1, count + 1, 1 if count <= 12 else 4):
        axes.text(tick, -0.09, str(tick), ha="center", va="bottom", fontsize=SMALL)
    axes.plot([1, 1 + width], [-0.42, -0.42], color=MEAN, linewidth=1.4, marker="|", markersize=5)
    axes.text(1, -0.48, f"CD = {width:.2f}", ha="left", va="bottom", fontsize=SMALL)
    for place, (method, rank) in enumerate(zip(methods, mean_ranks, strict=True)):
        left = place < half
        row = first_row + _ROW * (place if left else count - 1 - place)
        end = 1 - spare if left else count + spare
        axes.plot([rank, rank, end], [0, row, row], color=INK, linewidth=0.6)
        axes.plot([rank], [0], marker="o", markersize=3.5, color=SEED, zorder=3)
        axes.annotate(
            names[method], (end, row), (-3 if left else 3, 0), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=SMALL, annotation_clip=False,
        )  # fmt: skip
    for level, (start, end_place) in enumerate(groups, start=1):
        ends = [mean_ranks[start] - spare / 4, mean_ranks[end_place] + spare / 4]
        axes.plot(ends, [_LEVEL * level] * 2, color=INK, linewidth=2.4, solid_capstyle="butt", zorder=2)
    axes.set_ylim(first_row + _ROW * half, -0.75)
    axes.set_xlim(1 - spare, max(count, 1 + width) + spare)
    axes.set_axis_off()
