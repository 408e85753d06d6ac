"""The building blocks of a report, free of any output format."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

NOT_AVAILABLE = "n/a"


@dataclass(frozen=True, slots=True)
class Marked:
    """Text of a table that stands out, or that leads to trials."""

    text: str
    bold: bool = False
    underline: bool = False
    cell: str = ""
    """``METHOD@DATASET``, whose trials the page shows on a click; empty where there are none."""

    def __str__(self) -> str:
        return self.text


class Panel(TypedDict):
    """What a click on a ``Marked`` cell shows of the trials behind it."""

    facts: list[list[str]]
    """Pairs of term and text."""
    head: list[str]
    align: str
    """A letter a column, as in ``PageTable``."""
    rows: list[list[str]]
    commands: list[str]
    """What leads on."""


Text = str | Marked
Row = tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class PageTable:
    """Rows of text under a caption."""

    caption: str
    head: tuple[str, ...]
    align: str
    """One letter a column: ``l`` for text, ``r`` for numbers."""
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    """(heading, rows); an empty heading is not printed."""
    note: str = ""
    number: int = 0
    name: str = ""
    """Stem of its files; a table without one has none."""
    kind: str = field(default="table", init=False)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not any(rows for _, rows in self.groups)


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A drawing as SVG, PNG and PDF under a caption."""

    caption: str
    alt: str
    stem: str
    """File name without its suffix."""
    svg: bytes
    png: bytes
    number: int = 0
    pdf: bytes = b""
    """Empty where there is none."""
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of pixels (PNG) under a caption; numbered among the figures."""

    caption: str
    alt: str
    stem: str
    """File name without its suffix."""
    png: bytes
    number: int = 0
    kind: str = field(default="picture", init=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        # A PNG file begins with its signature and the header chunk, which begins with both.
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height


@dataclass(frozen=True, slots=True)
class Facts:
    """Terms and what holds for them."""

    pairs: tuple[tuple[str, str], ...]
    kind: str = field(default="facts", init=False)


@dataclass(frozen=True, slots=True)
class Drawings:
    """Figures that may still be in the making; ``settled`` puts them in the place of this."""

    parts: tuple[Callable[[], Sequence[PageFigure]], ...]
    """Each waits for its figures."""
    stem: str = ""
    """Where there is one, all figures are named after it, with a number from the second on."""

    def figures(self) -> tuple[PageFigure, ...]:
        """All of them, in order."""
        drawn = [figure for part in self.parts for figure in part()]
        if not self.stem:
            return tuple(drawn)
        return tuple(replace(one, stem=sheet_stem(self.stem, place)) for place, one in enumerate(drawn))


Item = PageTable | PageFigure | Picture | Facts | Drawings


@dataclass(frozen=True, slots=True)
class PageSection:
    """A heading with sentences, then tables, figures, pictures and facts."""

    title: str
    sentences: tuple[str, ...]
    items: tuple[Item, ...]
    folded: bool = False
    """Whether it is part of the appendix: closed on the page until a reader opens it."""
    label: str = ""
    """Its number on the page, as ``numbered`` gives it."""


def folded(*sections: PageSection) -> list[PageSection]:
    """The sections as parts of the appendix."""
    return [replace(section, folded=True) for section in sections]


def sheet_stem(stem: str, place: int) -> str:
    """The file name of the sheet at a place, counted from 0; the first keeps the name."""
    return stem if place == 0 else f"{stem}_{place + 1}"


def settled(sections: Sequence[PageSection]) -> list[PageSection]:
    """The sections with all figures drawn, without those that have nothing to show."""
    result = []
    for section in sections:
        items = [(one.figures() if isinstance(one, Drawings) else (one,)) for one in section.items]
        whole = replace(section, items=tuple(item for part in items for item in part))
        if whole.sentences or whole.items:
            result.append(whole)
    return result


def numbered(sections: Sequence[PageSection]) -> list[PageSection]:
    """The sections, those of the appendix last, with all their numbers.

    Sections are numbered from 1, those of the appendix from A1; tables from 1, and figures and pictures together
    likewise.
    """
    tables = figures = 0
    result = []
    places = {False: 0, True: 0}
    for section in sorted(sections, key=lambda one: one.folded):
        places[section.folded] += 1
        label = f"{'A' if section.folded else ''}{places[section.folded]}"
        items: list[Item] = []
        for item in section.items:
            if isinstance(item, PageTable):
                tables += 1
                items.append(replace(item, number=tables))
            elif isinstance(item, PageFigure | Picture):
                figures += 1
                items.append(replace(item, number=figures))
            else:
                items.append(item)
        result.append(replace(section, items=tuple(items), label=label))
    return result


def notes_once(sections: Sequence[PageSection]) -> list[PageSection]:
    """The numbered sections with each note of a table in full at the first one that has it, and named at the others."""
    first: dict[str, int] = {}

    def short(item: Item) -> Item:
        if not isinstance(item, PageTable) or not item.note:
            return item
        place = first.setdefault(item.note, item.number)
        return item if place == item.number else replace(item, note=f"The note below Table {place} holds here too.")

    return [replace(section, items=tuple(map(short, section.items))) for section in sections]


def number(value: float | None, digits: int = 4) -> str:
    """A number with a true minus sign; ``n/a`` for None."""
    if value is None:
        return NOT_AVAILABLE
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def count(value: float | None) -> str:
    """A whole number with separated thousands; ``n/a`` for None."""
    return NOT_AVAILABLE if value is None else f"{value:,.0f}"


def device_in_words(name: str | None, threads: int | None) -> str:
    """``cpu, 2 threads``; ``n/a`` where the device is not known."""
    if name is None:
        return NOT_AVAILABLE
    return name if threads is None else f"{name}, {threads} thread{'' if threads == 1 else 's'}"


def ranges(numbers: Sequence[int]) -> str:
    """``0–3, 5`` for 0, 1, 2, 3, 5."""
    parts: list[list[int]] = []
    for one in sorted(numbers):
        if parts and one == parts[-1][-1] + 1:
            parts[-1].append(one)
        else:
            parts.append([one])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)
