"""Figures of what each method reached: every seed with its pairing, and the score against trained parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.comparison.compare import Analysis
from analysis.comparison.evidence import DeclaredPlan
from analysis.comparison.phrases import listed
from analysis.comparison.scores import Interval, MethodScore
from analysis.figures import drawing
from analysis.figures.drawing import SMALL
from analysis.stats.scopes import DrawnAnew, scope_phrase, widest_first
from harness.pages.contents import PageFigure, sheet_stem
from harness.pages.palette import FAINT, INK, MEAN, PAPER, SEED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HOW: Mapping[Interval, str] = {
    "two_way": "two-way interval over seeds and cases",
    "over_images": "interval over splits that counts the images that they share",
    "over_splits": "interval over splits that allows for their overlap",
    "over_searches": "interval over searches that allows for the overlap of their splits",
    "t_over_seeds": "t over seeds",
}
LABEL = 0.15  # inches from one label to the next
_TALLEST = 11.0  # inches


def seeds(analysis: Analysis, dataset: str, stem: str) -> tuple[PageFigure, ...]:
    """Every seed's score by method, the same seed joined by a line, with mean and t interval.

    Seeds that learned next to nothing are crossed out, failed ones counted. Nothing is drawn
    for a dataset without a score.
    """
    evidence = analysis.evidence
    plan = evidence.plan
    scores = [score for method in evidence.methods if (score := analysis.score(dataset, method)) is not None]
    if not any(score.values for score in scores):
        return ()
    names = drawing.short_names(evidence.methods)
    drawn: list[PageFigure] = []
    for part in drawing.sheets(scores, 32):
        with drawing.canvas_of(0.55 + 0.31 * len(part)) as canvas:
            axes = canvas.subplots()
            joined = [line for row, (score, below) in enumerate(pairwise(part)) for line in _joined(row, score, below)]
            drawing.strokes(axes, joined, color=FAINT, linewidth=0.5, zorder=1)
            for row, score in enumerate(part):
                collapsed = [score.seeds.index(seed) for seed in score.collapsed]
                _draw_seeds(axes, row, score, collapsed)
                lost = len(evidence.cells[dataset, score.method].failures)
                notes = [f"n = {len(score.values)}" if score.values else "undefined"]
                notes += [f"{lost} failed"] if lost else []
                notes += [f"{len(collapsed)} collapsed"] if collapsed else []
                axes.annotate(
                    ", ".join(notes), (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL
                )
            drawing.rows_of(axes, [names[score.method] for score in part])
            axes.margins(x=0.04)
            axes.set_xlabel(f"{plan.label(plan.metric)}, test split ({plan.direction})")
            drawing.few_ticks(axes)
            number = drawing.counted([len(score.values) for score in part], "seed")
            drawn.append(
                drawing.finished(
                    canvas,
                    f"{dataset}: {plan.label(plan.metric)} of each of {number} (circle; crossed out: "
                    "learned next to nothing), the same seed joined by a grey line; their mean "
                    f"(diamond) with the {drawing.percent(plan.confidence)} interval over {_over(part)}. Whether two "
                    "intervals overlap says nothing about a difference.",
                    f"{plan.label(plan.metric)} of each seed on {dataset}; means: "
                    + ", ".join(f"{one.method} {one.mean:.3f}" for one in part if one.mean is not None),
                    sheet_stem(stem, len(drawn)),
                )
            )
    return tuple(drawn)


def _over(scores: Sequence[MethodScore]) -> str:
    """What the intervals of ``seeds`` are over, and what they draw anew."""
    splits = [len(set(score.replicates.splits)) for score in scores if score.replicates.several_splits]
    over = f"{drawing.counted(splits, 'split')}, whose overlap it allows for" if splits else "seeds"
    # Without splits these are intervals over the trainings alone, whatever the tables have.
    kinds = widest_first(
        score.drawn if score.replicates.several_splits else replace(score.drawn, cases=False) for score in scores
    )
    return f"{over}. Scope: {'; or '.join(map(scope_phrase, kinds))}"


def _joined(row: int, score: MethodScore, below: MethodScore) -> Iterator[tuple[list[float], list[float]]]:
    """A line for each seed that two neighbouring methods have."""
    if score.values and below.values:
        own, other = (dict(zip(one.seeds, one.values, strict=True)) for one in (score, below))
        for seed in sorted(set(own) & set(other)):
            yield [own[seed], other[seed]], [row - 0.14, row + 0.86]


def _draw_seeds(axes: Axes, row: int, score: MethodScore, collapsed: Sequence[int]) -> None:
    if score.mean is None:
        return
    axes.plot(
        score.values, [row - 0.14] * len(score.values), linestyle="none", marker="o", markersize=4,
        markerfacecolor=PAPER, markeredgecolor=SEED, markeredgewidth=0.9, clip_on=False, zorder=2,
    )  # fmt: skip
    for place in collapsed:
        axes.plot([score.values[place]], [row - 0.14], marker="x", markersize=6.5, color=INK, clip_on=False, zorder=3)
    over = score.over_splits or score.over_seeds
    if over is not None and over.low is not None and over.high is not None:
        axes.plot([over.low, over.high], [row + 0.2] * 2, color=MEAN, linewidth=1.4, zorder=3)
    axes.plot([score.mean], [row + 0.2], marker="D", markersize=4, color=MEAN, clip_on=False, zorder=4)


def pareto(analysis: Analysis, trained: Mapping[tuple[str, str], int], stem: str) -> tuple[PageFigure, ...]:
    """Mean score against trained parameters, with the line that no method shown is beyond.

    Args:
        analysis: of the methods.
        trained: (dataset, method) → parameters that train, the head not counted, at least 0.
        stem: file name without its suffix.

    Returns:
        As many figures as the datasets need; none where no method has both a score and a count.
    """
    evidence = analysis.evidence
    plan = evidence.plan
    points: dict[str, list[tuple[MethodScore, int]]] = {}
    for dataset, method in ((dataset, method) for dataset in evidence.datasets for method in evidence.methods):
        score = analysis.score(dataset, method)
        if score is not None and score.values and (dataset, method) in trained:
            points.setdefault(dataset, []).append((score, trained[dataset, method]))
    if not points:
        return ()
    most = max(map(len, points.values()))
    panel, drawn = max(1.5, LABEL * most + 0.1), list[PageFigure]()
    counts = [number for own in points.values() for _, number in own]
    for part in drawing.sheets(list(points), max(1, int(_TALLEST / (panel + 0.5)))):
        with drawing.canvas_of(0.4 + (panel + 0.5) * len(part)) as canvas:
            grid = drawing.grid(canvas, len(part), 1)
            labels = [_draw_pareto(axes, points[name], counts, plan) for axes, name in zip(grid, part, strict=True)]
            for axes, name in zip(grid, part, strict=True):
                axes.set_title(drawing.short_names([name], 60)[name])
            grid[-1].set_xlabel("Trained parameters, head not counted (logarithmic, from 1 on)")
            canvas.supylabel(f"{plan.label(plan.metric)}\n(test split, {plan.direction})")
            drawing.lay_out(canvas)
            for axes, own in zip(grid, labels, strict=True):
                label_points(axes, own)
            drawn.append(
                drawing.finished(
                    canvas,
                    _pareto_caption(analysis, points, part),
                    "; ".join(_spoken(name, points[name]) for name in part),
                    sheet_stem(stem, len(drawn)),
                )
            )
    return tuple(drawn)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points (cost, gain) that no other one beats: as cheap and better, or cheaper and as good.

    Ascending by cost; of several that are the same, all.
    """
    return sorted(
        (
            place
            for place, (cost, gain) in enumerate(points)
            if not any(other <= cost and good >= gain and (other < cost or good > gain) for other, good in points)
        ),
        key=lambda place: points[place],
    )


def spread(wanted: Sequence[float], gap: float) -> npt.NDArray[np.float64]:
    """The places nearest to those wanted (least squares) that lie within [0, 1] and at least ``gap`` apart.

    Args:
        wanted: ascending.
        gap: at least 0; if so many do not fit, they are as far apart as possible.

    Returns:
        Shape (n,), ascending.
    """
    count = len(wanted)
    gap = min(gap, 1 / (count - 1)) if count > 1 else 0.0
    steps = gap * np.arange(count)
    # Less the steps, places may be equal but not descend: pool those that do (isotonic regression).
    blocks: list[tuple[float, int]] = []
    for value in np.asarray(wanted, dtype=np.float64) - steps:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    pooled = np.repeat([value for value, _ in blocks], [number for _, number in blocks])
    places: npt.NDArray[np.float64] = np.clip(pooled, 0.0, 1.0 - gap * max(0, count - 1)) + steps
    return places


def _draw_pareto(
    axes: Axes, points: Sequence[tuple[MethodScore, int]], counts: Sequence[int], plan: DeclaredPlan
) -> list[tuple[str, float, float]]:
    """Draw the points of a dataset; returns (method, x, y) of each, for the labels."""
    lowest = math.floor(math.log10(min((number for number in counts if number), default=1)))
    highest = max(lowest + 1, math.ceil(math.log10(max(1, *counts))))
    place = [math.log10(number) if number else lowest - 1.0 for _, number in points]
    means = [float(np.mean(score.values)) for score, _ in points]
    sign = 1.0 if plan.higher_is_better(plan.metric) else -1.0
    best = front([(x, sign * y) for x, y in zip(place, means, strict=True)])
    right = highest + 0.1 * (highest - lowest)
    axes.plot(
        [*(place[one] for one in best), right], [*(means[one] for one in best), means[best[-1]]],
        drawstyle="steps-post", color=MEAN, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1,
    )  # fmt: skip
    for one, (score, _) in enumerate(points):
        interval = None if score.widest is None else score.widest[1]
        if interval is not None and interval.low is not None and interval.high is not None:
            axes.plot([place[one]] * 2, [interval.low, interval.high], color=SEED, linewidth=0.9, zorder=2)
        axes.plot(
            [place[one]], [means[one]], marker="o", markersize=4.5, markeredgecolor=SEED, zorder=3,
            markerfacecolor=SEED if one in best else PAPER,
        )  # fmt: skip
    zero = any(number == 0 for number in counts)
    step = -(-(highest - lowest) // 6)
    ticks = [float(tick) for tick in range(lowest, highest + 1, step)]
    axes.set_xticks([*([lowest - 1.0] if zero else []), *ticks], [*(["0"] if zero else []), *map(_power, ticks)])
    axes.set_xlim(lowest - (1.3 if zero else 0.3), right)
    return [(score.method, place[one], means[one]) for one, (score, _) in enumerate(points)]


def _power(exponent: float) -> str:
    letter = {0: "", 1: "k", 2: "M", 3: "G"}.get(int(exponent) // 3)
    return f"1e{int(exponent)}" if letter is None else f"{10 ** (int(exponent) % 3)}{letter}"


def label_points(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """The names in a column on the right, in the order of the scores, each with a thin line to its point."""
    names = drawing.short_names([name for name, _, _ in points])
    canvas = axes.get_figure()
    assert canvas is not None
    height = axes.get_window_extent().height / canvas.dpi
    ordered = sorted(points, key=lambda point: (point[2], -point[1]))
    wanted = [float(axes.transAxes.inverted().transform(axes.transData.transform((0, y)))[1]) for _, _, y in ordered]
    for (name, x, y), at in zip(ordered, spread(wanted, LABEL / height), strict=True):
        axes.annotate(
            names[name], (x, y), (1.03, float(at)), textcoords="axes fraction", va="center", fontsize=SMALL,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": FAINT, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5),
                "zorder": 0,
            },
        )  # fmt: skip


def _pareto_caption(
    analysis: Analysis, points: Mapping[str, Sequence[tuple[MethodScore, int]]], part: Sequence[str]
) -> str:
    plan = analysis.evidence.plan
    shown = [score for name in part for score, _ in points[name]]
    where: dict[tuple[DrawnAnew, Interval], dict[str, None]] = {}
    for score in shown:
        if score.widest is not None:
            where.setdefault((score.drawn, score.widest[0]), {})[score.dataset] = None
    said = "; ".join(
        f"{scope_phrase(drawn)} ({_HOW[kind]}{f'; {listed(list(names))}' if len(where) > 1 else ''})"
        for (drawn, kind), names in where.items()
    )
    scope = f"Scope: {said or 'none, since there is no interval'}. "
    absent = [
        f"{method} ({name})" for name in part for method in analysis.evidence.methods
        if method not in {score.method for score, _ in points[name]}
    ]  # fmt: skip
    return (
        f"{plan.label(plan.metric)} ({plan.direction}; mean over "
        f"{drawing.counted([len(score.values) for score in shown], 'seed')} with {drawing.percent(plan.confidence)} "
        f"intervals) against trained parameters. {scope}Filled, and joined by the dashed line: no method "
        "shown has a better mean with as few parameters; the line is a description and no test."
        + (f" Not shown, without a score or a count: {', '.join(absent)}." if absent else "")
    )


def _spoken(dataset: str, points: Sequence[tuple[MethodScore, int]]) -> str:
    own = [f"{score.method} {np.mean(score.values):.3f} with {number:,} parameters" for score, number in points]
    return f"{dataset}: {', '.join(own)}"
