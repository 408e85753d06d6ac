"""Learning curves over the number of training images."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.comparison.evidence import DeclaredPlan
from analysis.comparison.training_sizes import CurveFindings, CurvePoint
from analysis.figures import drawing
from harness.pages.contents import PageFigure
from harness.pages.palette import FAINT, SEED


def size_curves(found: CurveFindings, plan: DeclaredPlan, stem: str) -> tuple[PageFigure, ...]:
    """The primary metric by training size, a panel a method, with the band of its intervals; nothing without points."""
    lines: dict[str, list[CurvePoint]] = {}
    for one in found.points:
        lines.setdefault(one.method, []).append(one)
    return tuple(_drawn(found, lines, plan, stem)) if lines else ()


def _drawn(
    found: CurveFindings, lines: dict[str, list[CurvePoint]], plan: DeclaredPlan, stem: str
) -> Iterator[PageFigure]:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    names = drawing.short_names(list(lines), 13)
    columns = 2 if len(lines) == 4 else min(3, len(lines))
    with drawing.canvas_of(0.7 + 1.6 * -(-len(lines) // columns)) as canvas:
        panels = drawing.grid(canvas, len(lines), columns, sharex=True, sharey=True)
        for panel, (method, line) in zip(panels, lines.items(), strict=True):
            others = [
                ([one.size for one in other], [one.estimate.estimate for one in other])
                for name, other in lines.items()
                if name != method
            ]
            drawing.strokes(panel, others, color=FAINT, linewidth=0.8, zorder=1)
            at, means = [one.size for one in line], [one.estimate.estimate for one in line]
            known = [one for one in line if one.estimate.low is not None]
            panel.fill_between(
                [one.size for one in known],
                [one.estimate.low or 0.0 for one in known],
                [one.estimate.high or 0.0 for one in known],
                color=SEED,
                alpha=0.25,
                linewidth=0,
                zorder=2,
            )
            panel.plot(at, means, color=SEED, linewidth=1.4, marker="o", markersize=3, zorder=3)
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(FixedLocator(list(found.sizes)))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_xticklabels([f"{size:,}" for size in found.sizes], rotation=45, ha="right")
            panel.set_title(names[method])
        canvas.supxlabel("Training images")
        canvas.supylabel(plan.label(plan.metric))
        yield drawing.finished(
            canvas,
            f"{found.dataset}: {plan.label(plan.metric)} by number of training images ({plan.direction}), on a "
            f"logarithmic scale. Line: mean over seeds; band: {drawing.percent(plan.confidence)} intervals at each "
            "size, not of the curve as a whole; grey: the other methods.",
            f"{plan.label(plan.metric)} by training size on {found.dataset}, one panel a method",
            stem,
        )
