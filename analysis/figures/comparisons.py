"""Figures of methods against each other: the declared differences with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from analysis.comparison.compare import Analysis
from analysis.comparison.phrases import counted, datasets_phrase, listed
from analysis.comparison.verdicts import Comparison
from analysis.figures import drawing
from analysis.figures.drawing import SMALL
from analysis.stats.decisions import Verdict
from analysis.stats.scopes import DrawnAnew, scope_phrase, widest_first
from harness.pages.contents import PageFigure, sheet_stem
from harness.pages.palette import FAINT, INK, MEAN, PAPER, SEED, TINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

OUTCOMES: dict[Verdict, tuple[str, str, str]] = {
    "better": ("^", SEED, SEED),
    "worse": ("v", MEAN, MEAN),
    "equivalent": ("s", FAINT, INK),
    "inconclusive": ("o", PAPER, INK),
}
"""Outcome → marker, inside, edge: the shape alone tells them apart."""
ROWS, ALONE = 45, 42
"""Most rows of a panel, and most rows of all panels for which one column is enough."""
_ROW = 0.185  # inches


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    size: str
    """Seeds, splits and cases behind it, in words."""
    comparisons: dict[tuple[str, str], Comparison]


def forest(analysis: Analysis, stem: str) -> tuple[PageFigure, ...]:
    """The declared comparisons by the primary metric: differences with intervals, and the equivalence band.

    A panel a dataset and one for their average, rows in the order of declaration; as many figures as it takes for
    every row to be readable, none where nothing can be compared.
    """
    evidence = analysis.evidence
    pairs = list(dict.fromkeys((one.pair.first, one.pair.second) for one in analysis.of("primary")))
    panels = list(_panels(analysis))
    drawn: list[PageFigure] = []
    for rows in drawing.sheets(pairs, ROWS):
        columns = 1 if len(rows) * len(panels) <= ALONE else min(3, len(panels))
        for part in drawing.sheets(panels, columns * max(1, 60 // (len(rows) + 3))):
            caption = _forest_caption(analysis, part, rows)
            with drawing.canvas_of(0.95 + -(-len(part) // columns) * (0.5 + _ROW * len(rows))) as canvas:
                _draw_forest(canvas, analysis, part, rows, columns)
                drawn.append(
                    drawing.finished(
                        canvas,
                        caption,
                        f"Differences of {evidence.plan.label(evidence.plan.metric)} with intervals: "
                        + "; ".join(_spoken(panel, rows) for panel in part),
                        sheet_stem(stem, len(drawn)),
                    )
                )
    return tuple(drawn)


def _panels(analysis: Analysis) -> Iterator[_Panel]:
    for dataset in analysis.evidence.datasets:
        own = analysis.of("primary", dataset)
        known = [one.pair for one in own if one.pair.estimate is not None]
        seeds = drawing.counted([len(one.seeds) for one in known], "seed")
        cases = [one.cases for one in known if one.cases is not None]
        splits = [one.splits for one in known]
        seeds += f" on {drawing.counted(splits, 'split')}" if max(splits, default=1) > 1 else ""
        scope = f"{seeds}, {drawing.counted(cases, 'case')}" if cases else seeds
        yield _Panel(dataset, scope, {(one.pair.first, one.pair.second): one for one in own})
    if analysis.averages:
        size = _whole(analysis).removeprefix("these ")
        yield _Panel("Average", size, {(one.pair.first, one.pair.second): one for one in analysis.averages})


def _draw_forest(
    canvas: Canvas, analysis: Analysis, panels: Sequence[_Panel], rows: Sequence[tuple[str, str]], columns: int
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    plan = analysis.evidence.plan
    names = drawing.short_names(analysis.evidence.methods, 22 if plan.family == "vs_control" else 13)
    labels = [names[a] if plan.family == "vs_control" else f"{names[a]} − {names[b]}" for a, b in rows]
    shown = [panel.comparisons[row] for panel in panels for row in rows if row in panel.comparisons]
    left, right = _limits(shown, plan.margin or 0.0)
    titles = drawing.short_names([panel.title for panel in panels], 44 if columns == 1 else 16)
    for place, (axes, panel) in enumerate(zip(drawing.grid(canvas, len(panels), columns), panels, strict=True)):
        if plan.margin is not None:
            axes.axvspan(-plan.margin, plan.margin, facecolor=TINT, edgecolor=FAINT, linewidth=0.4, zorder=0)
        axes.axvline(0, color=INK, linewidth=0.6, zorder=1)
        for row, key in enumerate(rows):
            if key in panel.comparisons:
                _draw_comparison(axes, row, panel.comparisons[key], left, right)
        drawing.rows_of(axes, labels if place % columns == 0 else [""] * len(rows))
        axes.set_xlim(left, right)
        size = f" ({panel.size})" if columns == 1 and panel.size else ""
        axes.set_title(titles[panel.title] + size)
        drawing.few_ticks(axes, 6 if columns == 1 else 3)
    outcomes = {one.outcome for one in shown if one.pair.estimate is not None}
    handles: list[Line2D | Patch] = [
        Line2D([], [], linestyle="none", marker=marker, markerfacecolor=inside, markeredgecolor=edge, label=outcome)
        for outcome, (marker, inside, edge) in OUTCOMES.items()
        if outcome in outcomes
    ]
    if plan.margin is not None:
        handles.append(Patch(facecolor=TINT, edgecolor=FAINT, label=f"margin ±{plan.margin:.4g}"))
    if any(one.pair.interval == "t_over_seeds" for one in shown):
        handles.append(Line2D([], [], color=INK, linestyle=(0, (3, 1.5)), linewidth=1, label="seeds only"))
    if handles:
        canvas.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.4, columnspacing=1.2)
    canvas.supxlabel(_axis(analysis))


def _axis(analysis: Analysis) -> str:
    plan = analysis.evidence.plan
    name = plan.label(plan.metric)
    side = "right" if plan.higher_is_better(plan.metric) else "left"
    if plan.family == "all_pairs":
        return f"{name}: first − second ({side} of 0: first is better)"
    control = drawing.short_names([str(plan.control)], 26)[str(plan.control)]
    return f"{name}: difference to {control}\n({side} of 0: better than {control})"


def _limits(shown: Sequence[Comparison], margin: float) -> tuple[float, float]:
    """The range to draw; one comparison far from all others does not squeeze them."""
    known = [one.pair.estimate for one in shown if one.pair.estimate is not None]
    ends = [[end for end in (one.low, one.estimate, one.high) if end is not None] for one in known]
    reaches = [max(map(abs, own)) for own in ends]
    far = max(6 * median(reaches), 2 * margin) if any(reaches) else 0.0
    values = [value for own in ends for value in own]
    low = min([-1.3 * margin, *(max(value, -far) for value in values)], default=0.0)
    high = max([1.3 * margin, *(min(value, far) for value in values)], default=0.0)
    spare = 0.06 * (high - low) or 0.01
    return min(low, 0.0) - spare, max(high, 0.0) + spare


def _draw_comparison(axes: Axes, row: int, comparison: Comparison, left: float, right: float) -> None:
    estimate = comparison.pair.estimate
    if estimate is None:
        axes.annotate(
            "not comparable", (0, row), (4, 0), textcoords="offset points", va="center", fontsize=SMALL, style="italic"
        )
        return
    marker, inside, edge = OUTCOMES[comparison.outcome]
    if estimate.low is not None and estimate.high is not None:
        style = (0, (3, 1.5)) if comparison.pair.interval == "t_over_seeds" else "-"
        ends = [min(max(end, left), right) for end in (estimate.low, estimate.high)]
        axes.plot(ends, [row, row], color=INK, linewidth=1.1, linestyle=style, zorder=2, solid_capstyle="butt")
        for end, shown, arrow in ((estimate.low, left, "<"), (estimate.high, right, ">")):
            if end != min(max(end, left), right):
                axes.plot([shown], [row], marker=arrow, markersize=4, color=INK, clip_on=False, zorder=2)
    at = min(max(estimate.estimate, left), right)
    if at != estimate.estimate:
        text = f"{estimate.estimate:+.3f}".replace("-", "\N{MINUS SIGN}")
        offset, side = ((7, 0), "left") if at == left else ((-7, 0), "right")
        axes.annotate(
            text, (at, row), offset, textcoords="offset points", ha=side, va="bottom", fontsize=SMALL, zorder=4
        )
    axes.plot(
        [at], [row], marker=marker, markersize=5, markerfacecolor=inside, markeredgecolor=edge, markeredgewidth=0.9,
        clip_on=False, zorder=3,
    )  # fmt: skip


def _forest_caption(analysis: Analysis, panels: Sequence[_Panel], rows: Sequence[tuple[str, str]]) -> str:
    plan = analysis.evidence.plan
    shown = [panel.comparisons[row] for panel in panels for row in rows if row in panel.comparisons]
    kinds = {one.pair.interval for one in shown}
    against = (
        f"each method minus {plan.control}" if plan.family == "vs_control" else "each pair of methods, first − second"
    )
    parts = [
        f"{plan.label(plan.metric)} on {analysis.evidence.tested} ({plan.direction}): {against}, paired "
        f"by seed, with {drawing.percent(plan.confidence)} intervals.",
        "; ".join(f"{panel.title}: {panel.size}" for panel in panels if panel.size) + ".",
    ]
    parts += _scopes(shown)
    if not kinds - {None, "fixed_datasets"}:
        parts.append("Scope: none, since nothing could be compared; the reasons are in the tables.")
    if "fixed_datasets" in kinds:
        parts.append(f"Last panel: averaged over {_whole(analysis)}, not beyond them.")
    if plan.margin is not None:
        parts.append(f"Grey band: the declared equivalence margin of ±{plan.margin:.4g}.")
    if plan.correction != "none":
        several = sorted({one.family for one in shown})
        number = (
            counted(several[0], "comparison") if len(several) == 1 else f"{' or '.join(map(str, several))} comparisons"
        )
        parts.append(
            f"Marks show the outcome after correction ({plan.correction}) for {number}; intervals are not corrected: "
            "one may exclude 0 without a verdict."
        )
    parts.append("An inconclusive difference may be of any size that its interval covers.")
    return " ".join(part for part in parts if part != ".")


def _scopes(shown: Sequence[Comparison]) -> Iterator[str]:
    """What the intervals draw anew: the dashed ones are of seeds alone, others differ by panel at most."""
    for dashed in (False, True):
        own = [
            one.pair
            for one in shown
            if one.pair.interval not in (None, "fixed_datasets") and (one.pair.interval == "t_over_seeds") is dashed
        ]
        kinds: Sequence[DrawnAnew] = widest_first(pair.drawn for pair in own)
        for kind in kinds:
            where = list(dict.fromkeys(str(pair.dataset) for pair in own if pair.drawn == kind))
            marks = [*(["dashed"] if dashed else []), *([listed(where)] if len(kinds) > 1 else [])]
            marked = f" ({', '.join(marks)})" if marks else ""
            yield f"Scope{marked}: {scope_phrase(kind)}."


def _whole(analysis: Analysis) -> str:
    return datasets_phrase(analysis.evidence)


def _spoken(panel: _Panel, rows: Sequence[tuple[str, str]]) -> str:
    own = [panel.comparisons[row] for row in rows if row in panel.comparisons]
    counts = {outcome: sum(one.outcome == outcome for one in own) for outcome in OUTCOMES}
    return f"{panel.title}: " + ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)
