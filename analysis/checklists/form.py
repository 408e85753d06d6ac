"""What a checklist is: items in the order of its source, each with what answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from analysis.checklists.known import Known
from analysis.runs.conduct import Conduct

FINDINGS, LIMITS = "Findings", "What may not be concluded"
METHODS, DATA = "How the methods were compared", "Data statement"
"""Titles of sections of the report."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the run says to an item."""

    sentences: tuple[str, ...]
    """At least one, with the values of this run."""
    where: tuple[str, ...] = ()
    """Titles of the sections of the report that have it in full."""

    def __post_init__(self) -> None:
        if not any(self.sentences):
            raise ValueError("an answer needs a sentence; give None where nothing is known")


Teller: TypeAlias = Callable[[Known], Reply | None]
"""Answers an item; None where the run cannot."""


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One item of a checklist."""

    number: str
    """As its source has it."""
    asks: str
    """What it asks for, in words of our own."""
    you: str
    """What the author must say where the run cannot, as the end of "to be answered by you: …"."""
    tells: Teller | None = None
    also: bool = True
    """Whether that is left to the author although the run says something."""

    def __post_init__(self) -> None:
        if not (self.number and self.asks and self.you):
            raise ValueError(f"item {self.number!r} needs a number, what it asks, and what is left to the author")


@dataclass(frozen=True, slots=True)
class Part:
    """Items under one heading."""

    title: str
    items: tuple[ChecklistItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """A whole one."""

    title: str
    source: str
    """Authors, year, journal and DOI."""
    note: str = ""
    """What a reader must know of its version or numbers."""
    parts: tuple[Part, ...]

    @property
    def items(self) -> tuple[ChecklistItem, ...]:
        """All of them, in order."""
        return tuple(item for part in self.parts for item in part.items)


def together(*groups: Reply | None) -> Reply | None:
    """Several answers as one, in which no sentence comes twice; None where there is none."""
    known = [group for group in groups if group is not None]
    if not known:
        return None
    return Reply(
        tuple(dict.fromkeys(sentence for group in known for sentence in group.sentences)),
        tuple(dict.fromkeys(section for group in known for section in group.where)),
    )


def all_of(*tellers: Teller) -> Teller:
    """What several tellers say, one after the other."""
    return lambda known: together(*(teller(known) for teller in tellers))


def answer(sentences: Iterable[str], *where: str) -> Reply | None:
    """Those sentences that say something, and the sections that have them in full; None where none does."""
    said = tuple(filter(None, sentences))
    return Reply(said, where) if said else None


def of_run(tell: Callable[[Known, Conduct], Reply | None]) -> Teller:
    """A teller that needs a run directory."""
    return lambda known: None if known.conduct is None else tell(known, known.conduct)
