"""What all figures share: canvas, short names, and one canvas written as SVG, PNG and PDF.

Shapes and line styles alone tell the marks apart, so a grey print is enough. A canvas is drawn 5 inches wide, with
letters that are still 6 points high when it is set in a column of 3.4.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from harness.core.errors import one_line
from harness.pages.contents import PageFigure
from harness.pages.palette import FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

T = TypeVar("T")

WIDTH, SMALL = 5.0, 9.0  # inches, points
_DPI = 200
_COMPRESSION = 4
"""Of PNG files: 6 would take three times as long and save a fiftieth."""
_STYLE: dict[str, Any] = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": SMALL,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # no panel has anything between itself and its title, which matplotlib would look for
    "figure.labelsize": 9.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "svg.fonttype": "path",
    "svg.hashsalt": "gpaf-bench",
    "pdf.fonttype": 42,  # journals refuse the default, Type 3
    "text.parse_math": False,  # a label may hold a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.6,
    "hatch.color": FAINT,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "axes.formatter.use_mathtext": False,
    "axes.formatter.useoffset": False,
    **dict.fromkeys(
        (
            "text.color",
            "axes.edgecolor",
            "axes.labelcolor",
            "axes.titlecolor",
            "xtick.color",
            "ytick.color",
        ),
        INK,
    ),
}


@contextmanager
def canvas_of(height: float) -> Iterator[Canvas]:
    """A canvas of the report's width, ``height`` in inches, that no setting of the user's reaches."""
    from matplotlib.figure import Figure as Canvas

    with house_style():
        yield Canvas(figsize=(WIDTH, height), dpi=_DPI, layout="constrained")


@contextmanager
def house_style() -> Iterator[None]:
    """The settings of the report's figures, and none of the user's."""
    from matplotlib import style

    with style.context(["default", _STYLE]):
        yield


def finished(canvas: Canvas, caption: str, alt: str, stem: str) -> PageFigure:
    """The drawing in its three formats; the same drawing gives the same bytes.

    Args:
        canvas: inside its ``canvas_of``, whose settings also rule how it is written.
        caption: what is drawn, its scope and how many seeds and cases are behind it.
        alt: the same for who cannot see it.
        stem: file name without its suffix.
    """
    lay_out(canvas)
    # Not again for each format. With "none" instead of None matplotlib would still draw twice.
    canvas.set_layout_engine(None)
    svg, png, pdf = io.BytesIO(), io.BytesIO(), io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(svg, format="svg", transparent=True, metadata=nothing)
    fast = {"compress_level": _COMPRESSION}
    canvas.savefig(png, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None}, pil_kwargs=fast)
    undated = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    canvas.savefig(pdf, format="pdf", transparent=True, metadata=undated)
    return PageFigure(caption=caption, alt=alt, stem=stem, svg=svg.getvalue(), png=png.getvalue(), pdf=pdf.getvalue())


def lay_out(canvas: Canvas) -> None:
    """Give all panels their places, without the drawing that matplotlib's own function adds."""
    layout = canvas.get_layout_engine()
    assert layout is not None
    layout.execute(canvas)


def grid(canvas: Canvas, count: int, columns: int, **shared: Any) -> list[Axes]:
    """So many panels, at most ``columns`` side by side; those left over in the last row are not drawn.

    A shared axis shows its labels only at the edge of the grid, which some columns do not reach: they get theirs.
    """
    columns = max(1, min(columns, count))
    panels = list(canvas.subplots(-(-count // columns), columns, squeeze=False, **shared).flat)
    for panel in panels[count:]:
        panel.set_visible(False)
    for panel in panels[max(0, count - columns) : count]:
        panel.tick_params(labelbottom=True)
    return panels[:count]


def strokes(axes: Axes, parts: Iterable[tuple[Iterable[float], Iterable[float]]], **look: Any) -> None:
    """Many lines that look alike as one: each artist costs as much time as hundreds of points.

    Args:
        axes: where.
        parts: horizontal and vertical places of each line, as many of both.
        look: as for ``Axes.plot``.
    """
    import numpy as np

    ends = [[[*map(float, side), np.nan] for side in part] for part in parts]
    if ends:
        axes.plot(*(np.concatenate(side) for side in zip(*ends, strict=True)), **look)


def rows_of(axes: Axes, labels: Sequence[str]) -> None:
    """One row a label, the first on top, without the axis that numbers would need."""
    axes.set_yticks(range(len(labels)), list(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def few_ticks(axes: Axes, most: int = 5) -> None:
    """So many intervals on the horizontal axis that their numbers do not touch."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(most))


def sheets(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """ShiftTables of nearly equal length, none longer than ``most``; no part for no item."""
    number = -(-len(items) // most)
    ends = [len(items) * part // number for part in range(number + 1)] if number else []
    return [items[start:end] for start, end in pairwise(ends)]


def short_names(labels: Sequence[str], most: int = 22) -> dict[str, str]:
    """Label → one line of at most about ``most`` characters, distinct for distinct labels.

    The middle is left out, since names in a series differ at their ends; what is still alike gets a number.
    """
    result: dict[str, str] = {}
    for label in labels:
        if label in result:
            continue
        flat = one_line(label) or "(no name)"
        taken, name, copy = set(result.values()), _cut(flat, most), 2
        while name in taken:
            suffix = f" ({copy})"
            name, copy = _cut(flat, most - len(suffix)) + suffix, copy + 1
        result[label] = name
    return result


def _cut(text: str, most: int) -> str:
    tail = max(1, (most - 1) // 2)
    return text if len(text) <= most else f"{text[: max(1, most - 1 - tail)]}…{text[-tail:]}"


def titles(labels: Sequence[str], numbers: Sequence[int], most: int) -> dict[str, str]:
    """Label → title of its panel, with its number of seeds or trials where these differ."""
    if len(set(numbers)) < 2:
        return short_names(labels, most)
    names = short_names(labels, max(6, most - 8))
    return {label: f"{names[label]} (n = {number})" for label, number in zip(labels, numbers, strict=True)}


def counted(numbers: Sequence[int], noun: str) -> str:
    """``8 seeds``, ``6–8 seeds`` where they differ, ``no seeds`` without any."""
    if not numbers:
        return f"no {noun}s"
    low, high = min(numbers), max(numbers)
    return f"{low:,} {noun}{'' if low == 1 else 's'}" if low == high else f"{low:,}–{high:,} {noun}s"


def percent(share: float) -> str:
    """``95 %``, without digits that say nothing."""
    return f"{100 * share:.4g} %"
