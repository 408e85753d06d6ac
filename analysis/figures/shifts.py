"""Scores by severity of the damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.comparison.evidence import DeclaredPlan
from analysis.comparison.under_shift import SeverityScore
from analysis.figures import drawing
from harness.pages.contents import PageFigure
from harness.pages.palette import FAINT, SEED


def severity_curves(
    scores: Sequence[SeverityScore], plan: DeclaredPlan, what: str, kinds: int, stem: str
) -> tuple[PageFigure, ...]:
    """The primary metric by severity on one dataset, a panel a method; nothing where there is one severity alone.

    Line: mean over the kinds of damage and the trainings; band: from the lowest to the highest training.

    Args:
        scores: of one dataset, by severity.
        plan: for the metric.
        what: the dataset and the shift, in words.
        kinds: of damage.
        stem: file name without its suffix.
    """
    lines: dict[str, list[SeverityScore]] = {}
    for one in scores:
        lines.setdefault(one.method, []).append(one)
    if max(map(len, lines.values()), default=0) < 2:
        return ()
    return tuple(_drawn(lines, plan, what, kinds, stem))


def _drawn(
    lines: dict[str, list[SeverityScore]], plan: DeclaredPlan, what: str, kinds: int, stem: str
) -> Iterator[PageFigure]:
    from matplotlib.ticker import MaxNLocator

    names = drawing.short_names(list(lines), 13)
    columns = 2 if len(lines) == 4 else min(3, len(lines))
    with drawing.canvas_of(0.7 + 1.5 * -(-len(lines) // columns)) as canvas:
        panels = drawing.grid(canvas, len(lines), columns, sharex=True, sharey=True)
        for panel, (method, line) in zip(panels, lines.items(), strict=True):
            others = [
                ([one.severity for one in other], [one.mean for one in other])
                for name, other in lines.items()
                if name != method
            ]
            drawing.strokes(panel, others, color=FAINT, linewidth=0.8, zorder=1)
            at, low, high = ([getattr(one, name) for one in line] for name in ("severity", "low", "high"))
            panel.fill_between(at, low, high, color=SEED, alpha=0.25, linewidth=0, zorder=2)
            panel.plot(at, [one.mean for one in line], color=SEED, linewidth=1.4, marker="o", markersize=3, zorder=3)
            panel.set_title(names[method])
            panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        canvas.supxlabel("Severity")
        canvas.supylabel(plan.label(plan.metric))
        yield drawing.finished(
            canvas,
            f"{what}: {plan.label(plan.metric)} by severity ({plan.direction}). Line: mean over {kinds} "
            f"kind{'' if kinds == 1 else 's'} of damage and over seeds; band: lowest to highest seed; grey: the other "
            "methods. Scope: these seeds and cases, described.",
            f"{plan.label(plan.metric)} by severity of the damage, {what}, one panel a method",
            stem,
        )
