"""Level and power by cost, a panel for each size of today's design."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.figures.drawing import canvas_of, finished, grid
from analysis.palette import FAINT, INK, LINES
from benchmarks.calibration.designs.frontier import MOST_COST, WORTH, Target, targets
from benchmarks.calibration.model import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 5.6
LOOKS = {"one": ("o", LINES[0][0]), "random": ("s", LINES[1][0]), "folds": ("^", LINES[2][0])}
LABELS = {"one": "one split", "random": "new random splits", "folds": "folds"}
"""Filled: at its level for twins and for halves; in outline: for twins alone; a dot: for neither."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the figure as SVG or, by the suffix, as PNG."""
    found = targets(rows)
    columns = len({target.replicates for target in found})
    with canvas_of(HEIGHT * max(1, len(found) // columns) / 3 + 0.4) as canvas:
        panels = grid(canvas, len(found), columns, sharex=True, sharey=True)
        for axes, target in zip(panels, found, strict=True):
            _panel(axes, target)
        canvas.supxlabel(f"trainings, those of today's design as 1 (line: {MOST_COST:g})")
        canvas.supylabel(f"true difference found (line: {WORTH:g} of what five searches find)")
        handles, labels = panels[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside upper center", ncols=3)
        drawn = finished(canvas, "Level and power by cost", "Power by cost of each design, by kind of split", path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawn.png if path.suffix == ".png" else drawn.svg)


def _panel(axes: Axes, target: Target) -> None:
    axes.axvline(MOST_COST, color=FAINT, linewidth=0.8)
    if target.five is not None:
        axes.axhline(WORTH * target.five["power"]["rate"], color=FAINT, linewidth=0.8)
    for splits, (shape, colour) in LOOKS.items():
        own = [row for row in target.rows if row["splits"] == splits]
        kept = [row for row in own if row["twins"]["met"] and row["halves"]["met"]]
        twins = [row for row in own if row["twins"]["met"] and not row["halves"]["met"]]
        neither = [row for row in own if not row["twins"]["met"]]
        for shown, face, size, label in (
            (kept, colour, 16, LABELS[splits]),
            (twins, "none", 16, None),
            (neither, INK, 1.5, None),
        ):
            axes.scatter(
                [target.cost(row) for row in shown],
                [row["power"]["rate"] for row in shown],
                s=size,
                marker="o" if shown is neither else shape,
                facecolors=face,
                edgecolors=INK if shown is neither else colour,
                linewidths=0.7,
                label=label,
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.5, 1, 2, 4, 8], ["½", "1", "2", "4", "8"])
    axes.set_ylim(0, 1)
    axes.set_title(f"{target.trials} trials, {target.replicates} replicates")
