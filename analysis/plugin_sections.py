"""What plugins add to a report: their figures and tables, each failure on its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from analysis.contracts import PLUGIN_STEM, Cell, Drawing, Figure, ReportData, Rows, Table
from analysis.figures import drawing
from harness.core.identity import naming
from harness.core.infrastructure import is_infrastructure
from harness.core.output import complain
from harness.pages import contents
from harness.pages.contents import NOT_AVAILABLE, Item, PageSection, count, number, sheet_stem
from harness.plugins import Catalogue, Plugin, described, of_folders

P = TypeVar("P", Figure, Table)

MOST = 100
"""Drawings of a figure, or tables of one table, at most."""
TITLE = "Plugins"
"""Of the section that says which files could not be loaded."""


@dataclass(slots=True)
class _Added:
    """What is added to one section."""

    sentences: list[str] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)


def with_plugins(
    sections: Sequence[PageSection], before: int, data: ReportData, folders: Sequence[Path]
) -> list[PageSection]:
    """The sections with what the plugins of some folders show.

    Args:
        sections: the report's own.
        before: the place among them where new sections are put.
        data: what the report is made from.
        folders: of plugins, which are executed; without one nothing is loaded.

    Raises:
        RequestError: a folder does not exist.
        OSError: the file system failed, which is no plugin's fault.
    """
    if not folders:
        return list(sections)
    added = _added(data, of_folders(folders), folders)
    own = [_joined(section, added.pop(section.title, None)) for section in sections]
    new = [PageSection(title, tuple(more.sentences), tuple(more.items)) for title, more in added.items()]
    return [*own[:before], *new, *own[before:]]


def _joined(section: PageSection, more: _Added | None) -> PageSection:
    if more is None:
        return section
    return replace(section, sentences=(*section.sentences, *more.sentences), items=(*section.items, *more.items))


def _added(data: ReportData, catalogue: Catalogue, folders: Sequence[Path]) -> dict[str, _Added]:
    added: dict[str, _Added] = {}
    for plugin in catalogue.all(Figure).values():
        _show(plugin, figures_of, data, added)
    for table in catalogue.all(Table).values():
        _show(table, tables_of, data, added)
    ours = set(naming(folders, ("Figure", "Table")))
    for broken in catalogue.broken:
        # What cannot be loaded and names neither contract is a method or a dataset, which a report does not need.
        if broken.path in ours:
            complain(f"{broken.path}: {broken.error}; what it shows is missing from the report")
            line = f"{broken.path.name} cannot be used, and what it shows is missing: {broken.error}."
            added.setdefault(TITLE, _Added()).sentences.append(line)
    return added


def _show(
    plugin: Plugin[P], made: Callable[[P, ReportData], Iterator[Item]], data: ReportData, added: dict[str, _Added]
) -> None:
    """Add all that one plugin shows, or the line that says why it is missing."""
    # One that shows nothing leaves an empty section, which no report prints.
    place = added.setdefault(plugin.cls.section or plugin.cls.title, _Added())
    try:
        place.items += list(islice(made(plugin.cls(), data), MOST))
    except (Exception, SystemExit) as error:
        if is_infrastructure(error):
            raise
        said = f"The {plugin.cls.kind} {plugin.name!r} is missing"
        reason = described(plugin.path, error)
        complain(f"{said}: {plugin.path}: {reason}")
        place.sentences.append(f"{said}: {plugin.path.name}: {reason}.")


def figures_of(figure: Figure, data: ReportData) -> Iterator[Item]:
    """What a figure draws, in its formats.

    Raises:
        ValueError: a drawing has no caption or no alt text.
        TypeError: it gives something else than drawings.
    """
    with _canvases():
        for place, drawn in enumerate(figure.draw(data) or ()):
            if not isinstance(drawn, Drawing):
                raise TypeError(f"draw gives {type(drawn).__name__}, no Drawing")
            _require_text(caption=drawn.caption, alt=drawn.alt)
            if drawn.canvas.get_layout_engine() is None:
                drawn.canvas.set_layout_engine("constrained")
            stem = sheet_stem(f"{PLUGIN_STEM}{figure.name}", place)
            yield drawing.finished(drawn.canvas, drawn.caption, drawn.alt, stem)


@contextmanager
def _canvases() -> Iterator[None]:
    """The report's style, without a window; canvases that pyplot keeps are closed at the end."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    before = set(pyplot.get_fignums())
    try:
        with drawing.house_style():
            yield
    finally:
        for one in set(pyplot.get_fignums()) - before:
            pyplot.close(one)


def tables_of(table: Table, data: ReportData) -> Iterator[Item]:
    """What a table has been filled with, as text.

    Raises:
        ValueError: there is no caption, or a row has not the columns of the head.
        TypeError: it gives something else than rows.
    """
    for place, filled in enumerate(table.fill(data) or ()):
        if not isinstance(filled, Rows):
            raise TypeError(f"fill gives {type(filled).__name__}, no Rows")
        _require_text(caption=filled.caption)
        yield _table(filled, sheet_stem(f"{PLUGIN_STEM}{table.name}", place))


def _table(filled: Rows, name: str) -> contents.PageTable:
    rows = [tuple(row) for row in filled.rows]
    if not filled.head or any(len(row) != len(filled.head) for row in rows):
        raise ValueError(f"a row does not have the {len(filled.head)} columns of the head")
    columns = [[row[place] for row in rows] for place in range(len(filled.head))]
    return contents.PageTable(
        caption=filled.caption,
        head=tuple(map(str, filled.head)),
        align="".join("r" if _numbers(column) else "l" for column in columns),
        groups=(("", tuple(tuple(map(_text, row)) for row in rows)),),
        note=filled.note,
        name=name,
    )


def _numbers(column: Iterable[Cell]) -> bool:
    known = [cell for cell in column if cell is not None]
    return bool(known) and all(isinstance(cell, int | float) for cell in known)


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    if cell is None or not math.isfinite(cell):
        return NOT_AVAILABLE
    return count(cell) if isinstance(cell, int) else number(cell)


def _require_text(**parts: str) -> None:
    for name, text in parts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"it has no {name}")
