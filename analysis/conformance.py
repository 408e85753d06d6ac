"""What every figure and table of a report keeps to: a plugin's, and the report's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser

from analysis.contracts import Figure, ReportData, Table
from analysis.plugin_sections import figures_of, tables_of
from harness.pages import contents
from harness.pages.contents import Item, PageSection
from harness.pages.page import html

_STEM = re.compile(r"[A-Za-z0-9._-]+")
_BEGINNINGS = {"svg": b"<?xml", "png": b"\x89PNG\r\n", "pdf": b"%PDF-"}
_ACTIVE = {"a", "foreignobject", "iframe", "img", "link", "object", "script"}
"""Tags that lead somewhere or run something; neither a drawing nor a table has one."""


def plugin_problems(plugin: type[Figure] | type[Table], data: ReportData) -> list[str]:
    """One line for each promise of the contract that a figure or table breaks.

    Args:
        plugin: the class.
        data: what it is drawn from, of a report to which it applies.
    """
    fault = plugin.fault()
    if fault is not None:
        return [f"it {fault}"]
    first, again = (_shown(plugin, data) for _ in range(2))
    found = [] if first else ["it shows nothing"]
    if first != again:
        found.append("drawn again from the same results it differs")
    return [*found, *item_problems(first)]


def item_problems(items: Sequence[Item]) -> list[str]:
    """One line for each fault of some figures and tables of a report."""
    shown = [item for item in items if isinstance(item, contents.PageFigure | contents.PageTable)]
    return [f"{_name(item)}: {fault}" for item in shown for fault in _faults(item)]


def _shown(plugin: type[Figure] | type[Table], data: ReportData) -> list[Item]:
    made = plugin()
    return list(figures_of(made, data) if isinstance(made, Figure) else tables_of(made, data))


def _name(item: contents.PageFigure | contents.PageTable) -> str:
    return item.stem if isinstance(item, contents.PageFigure) else item.name


def _faults(item: contents.PageFigure | contents.PageTable) -> Iterator[str]:
    kind = "Figure" if isinstance(item, contents.PageFigure) else "Table"
    if not item.caption.strip():
        yield "it has no caption"
    # A table without a name has no files.
    if not _STEM.fullmatch(_name(item) or "none"):
        yield "its name is no file name for every system"
    if isinstance(item, contents.PageFigure):
        yield from _faults_of_figure(item)
    page = _Page(html("", "", (), [PageSection("", (), (replace(item, number=1),))]))
    if page.caption != f"{kind} 1. {item.caption}":
        yield "its caption becomes markup"
    if isinstance(item, contents.PageFigure) and item.alt not in page.labels:
        yield "its alt text is not what a screen reader finds"
    if page.active:
        yield f"the page has {', '.join(sorted(page.active))} in it"


def _faults_of_figure(figure: contents.PageFigure) -> Iterator[str]:
    if not figure.alt.strip():
        yield "it has no alt text"
    for name, beginning in _BEGINNINGS.items():
        if not getattr(figure, name).startswith(beginning):
            yield f"its {name.upper()} is none"


class _Page(HTMLParser):
    """What a browser finds in a page with a single figure or table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.caption, self.labels, self.active = "", set[str | None](), set[str]()
        self._inside = set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.add(tag)
        self.labels.add(dict(attrs).get("aria-label"))
        if "figure" in self._inside:
            self.active |= {name for name, _ in attrs if name.startswith("on")} | ({tag} & _ACTIVE)

    def handle_endtag(self, tag: str) -> None:
        self._inside.discard(tag)

    def handle_data(self, data: str) -> None:
        if "figcaption" in self._inside:
            self.caption += data
