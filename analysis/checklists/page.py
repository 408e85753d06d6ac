"""A filled-in checklist as sections of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.checklists.form import Checklist, ChecklistItem, Part, Reply
from analysis.checklists.known import Known
from harness.pages.contents import Marked, PageSection, PageTable, Row

YOURS = "to be answered by you"
"""How the line of an item begins that is left to the author."""


@dataclass(frozen=True, slots=True)
class Filled:
    """An item and what the run says to it."""

    item: ChecklistItem
    told: Reply | None

    @property
    def left(self) -> str:
        """What is left to the author; empty where the run has answered in full."""
        return self.item.you if self.told is None or self.item.also else ""


def fill(part: Part, known: Known) -> tuple[Filled, ...]:
    """The items of a part with their answers."""
    return tuple(Filled(item, None if item.tells is None else item.tells(known)) for item in part.items)


def filled_sections(checklist: Checklist, known: Known) -> tuple[str, list[PageSection]]:
    """The sentence on top, and a section for each part."""
    parts = [(part, fill(part, known)) for part in checklist.parts]
    every = [one for _, filled in parts for one in filled]
    whole = sum(not one.left for one in every)
    some = sum(one.told is not None for one in every) - whole
    note = f" {checklist.note}" if checklist.note else ""
    lead = (
        f"Filled in from {known.analysis.evidence.source}. Of {len(every)} items the run answers {whole} in full and "
        f"{some} in part; {len(every) - whole - some} are left to you. What an item asks is told in this program's "
        f"words: the wording that counts is that of {checklist.source}.{note}"
    )
    return lead, [PageSection(part.title, (), (_table(part, filled),)) for part, filled in parts]


def _table(part: Part, filled: Sequence[Filled]) -> PageTable:
    first, last = part.items[0].number, part.items[-1].number
    return PageTable(
        caption=f"Item {first}." if first == last else f"Items {first} to {last}.",
        head=("Item", "Asks for", "Answer"),
        align="lll",
        groups=(("", tuple(row for one in filled for row in _rows(one))),),
    )


def _rows(one: Filled) -> list[Row]:
    rows: list[Row] = []
    if one.told is not None:
        where = f" [report: {'; '.join(one.told.where)}]" if one.told.where else ""
        rows.append((one.item.number, one.item.asks, f"{' '.join(one.told.sentences)}{where}"))
    if one.left:
        asks = "" if rows else one.item.asks
        rows.append((one.item.number, asks, Marked(f"{YOURS}: {one.left}", bold=True)))
    return rows
