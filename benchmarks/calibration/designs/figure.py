"""Level and power of each design, and the most that is found for so many trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.figures.drawing import canvas_of, lay_out
from benchmarks.calibration.designs.counts import MOST_FALSE
from benchmarks.calibration.designs.frontier import SHOWN, frontier, of_design
from benchmarks.calibration.model import Row
from harness.pages.palette import FAINT, INK, LINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES = {5: ("o", LINES[0][0]), 10: ("s", LINES[1][0]), 20: ("^", LINES[2][0])}
"""Look of a number of replicates."""
OTHER = ("D", INK)
RESOLUTION = 120
PARTS = {"twins": "twins called different", "halves": "halves called different", "power": "true difference found"}
SCOPES = {"search": "at its level for twins", "training sets": "nested, at its level for twins and halves"}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the figure, in the format of the suffix."""
    shown = [one for one in SHOWN if of_design(rows, one)]
    with canvas_of(3.4 + 0.2 * len(shown)) as canvas:
        halves = canvas.add_gridspec(2, 1, height_ratios=[1 + 0.2 * len(shown), 2.4])
        upper, lower = canvas.add_subfigure(halves[0]), canvas.add_subfigure(halves[1])
        panels = upper.subplots(1, len(PARTS), sharey=True)
        for axes, (part, title) in zip(panels, PARTS.items(), strict=True):
            _dots(axes, rows, shown, part)
            axes.set_title(title)
        upper.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        _most(lower.subplots(), rows)
        lay_out(canvas)
        canvas.set_layout_engine(None)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The same numbers give the same bytes.
        metadata = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
        canvas.savefig(path, dpi=RESOLUTION, metadata=metadata, facecolor="white")


def _dots(axes: Axes, rows: Sequence[Row], shown: Sequence[tuple[str, str, str, str]], part: str) -> None:
    """A line a design, a mark a size."""
    for count in sorted({row["replicates"] for row in rows}):
        shape, colour = SIZES.get(count, OTHER)
        points = [
            (row[part]["rate"], line)
            for line, one in enumerate(shown)
            for row in of_design(rows, one)
            if row["replicates"] == count
        ]
        rates, lines = zip(*points, strict=True)
        axes.scatter(
            rates,
            lines,
            s=11,
            marker=shape,
            facecolors="none",
            edgecolors=colour,
            linewidths=0.7,
            label=f"{count} replicates",
        )
    if part != "power":
        axes.axvline(MOST_FALSE, color=FAINT, linewidth=0.8, zorder=0)
    axes.set_xlim(-0.02, 1.0 if part == "power" else 0.5)
    axes.set_yticks(range(len(shown)), [name for name, *_ in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(axis="y", color=FAINT, linewidth=0.3)


def _most(axes: Axes, rows: Sequence[Row]) -> None:
    """Steps: the most that a design finds which costs no more."""
    for (scope, label), (colour, style) in zip(SCOPES.items(), LINES, strict=False):
        steps = [(row["trainings"], row["power"]["rate"]) for row in frontier(rows, scope)]
        if not steps:
            continue
        trainings, rates = zip(*steps, (max(row["trainings"] for row in rows), steps[-1][1]), strict=True)
        axes.step(
            trainings,
            rates,
            where="post",
            color=colour,
            linestyle=style,
            label=label,
        )
    today = [row for row in rows if row["letter"] == "A"]
    axes.scatter(
        [row["trainings"] for row in today],
        [row["power"]["rate"] for row in today],
        s=9,
        marker="x",
        color=INK,
        linewidths=0.7,
        label="one search, one split: not at its level",
    )
    axes.set_xscale("log")
    ticks = [10, 20, 50, 100, 200, 500]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.set_xlabel("trainings of a method, search and confirmation")
    axes.set_ylabel("true difference found")
    axes.legend(loc="lower right")
