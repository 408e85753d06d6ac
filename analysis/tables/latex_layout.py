"""How a table fits on pages of a paper: which columns stand side by side, and which rows go on one page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.pages.contents import PageTable, Row, Text

PAGE_WIDTH = 130
"""Characters in a line of a table, two counted for the space between columns; it is shrunk by a tenth or so then."""
PAGE_LINES = 70
"""Lines of a page, captions and note included."""
HEAD_LINES = 3
LONG_TEXT = 44
"""Characters from which a column of text is set as paragraphs."""

Group = tuple[str, tuple[Row, ...]]


@dataclass(frozen=True, slots=True)
class Column:
    """How one column is set; widths in characters."""

    head: tuple[str, ...]
    align: str
    width: int
    paragraph: bool

    @property
    def preamble(self) -> str:
        """Its part of the argument of ``tabular``."""
        # At 8 pt a character takes about half of the width of an M.
        return rf">{{\raggedright\arraybackslash}}p{{{self.width / 2:.1f}em}}" if self.paragraph else self.align

    def lines(self, cell: Text) -> int:
        """How many lines a cell takes."""
        text = str(cell)
        return max(1, math.ceil(1.15 * len(text) / self.width)) if self.paragraph else text.count("\n") + 1


def columns_of(table: PageTable) -> list[Column]:
    """The columns as wide as their contents; long text shares what the others leave of the page."""
    cells = [[str(row[place]) for _, rows in table.groups for row in rows] for place in range(len(table.head))]
    longest = [max(len(line) for cell in column for line in [*cell.split("\n"), ""]) for column in cells]
    widths = [_width(head, width) for width, head in zip(longest, table.head, strict=True)]
    paragraphs = [width > LONG_TEXT and letter == "l" for width, letter in zip(widths, table.align, strict=True)]
    if any(paragraphs):
        left = PAGE_WIDTH - sum(2 + width for width, long in zip(widths, paragraphs, strict=True) if not long)
        share = max(24, left // sum(paragraphs) - 2)
        widths = [min(width, share) if long else width for width, long in zip(widths, paragraphs, strict=True)]
    return [
        Column(tuple(textwrap.wrap(head, width) or [""]), letter, width, long)
        for head, letter, width, long in zip(table.head, table.align, widths, paragraphs, strict=True)
    ]


def _width(head: str, contents: int) -> int:
    """Characters of a column, so that its head takes few lines and breaks no word."""
    width = max(contents, 6, *(len(word) for word in [*head.split(), ""]))
    while len(textwrap.wrap(head, width)) > HEAD_LINES:
        width += 1
    return width


def panels(columns: Sequence[Column]) -> list[tuple[int, ...]]:
    """Places of the columns of each panel; the first column stands in all of them.

    Paragraphs were given what room there is: with them there is one panel.
    """
    first, others = columns[0].width + 2, [column.width + 2 for column in columns[1:]]
    room = max(1, PAGE_WIDTH - first)
    count = math.ceil(sum(others) / room)
    if count <= 1 or any(column.paragraph for column in columns):
        return [tuple(range(len(columns)))]
    # Panels of nearly the same width read better than a full one and a rest.
    goal, result, used = sum(others) / count, [[0]], 0
    for place, width in enumerate(others, start=1):
        if len(result[-1]) > 1 and (used + width > room or used + width / 2 > goal):
            result.append([0])
            used = 0
        result[-1].append(place)
        used += width
    return [tuple(panel) for panel in result]


def pages(table: PageTable, columns: Sequence[Column], panels: int, note_lines: int) -> Iterator[tuple[Group, ...]]:
    """The groups, cut where as many panels as there are fill a page.

    A group that fits on a page is not cut; one that goes on has its heading again.
    """
    room = max(10, (PAGE_LINES - note_lines) // panels - 4 - max(len(column.head) for column in columns))
    page: list[tuple[str, list[Row]]] = []
    used = 0
    for heading, rows in table.groups:
        begun = False
        heights = [max(column.lines(cell) for column, cell in zip(columns, row, strict=True)) for row in rows]
        if page and used + 2 + sum(heights) > room >= 2 + sum(heights):
            yield tuple((name, tuple(own)) for name, own in page)
            page, used = [], 0
        for row, lines in zip(rows, heights, strict=True):
            if page and used + (0 if begun else 2) + lines > room:
                yield tuple((name, tuple(own)) for name, own in page)
                page, used, begun = [], 0, False
            if not begun:
                page.append((heading, []))
                used += 2
                begun = True
            page[-1][1].append(row)
            used += lines
    if page:
        yield tuple((name, tuple(own)) for name, own in page)
