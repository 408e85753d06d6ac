"""A dataset's card on the terminal: facts, counts, and what leaks."""

from __future__ import annotations

from rich.table import Table as Grid
from rich.text import Text

from harness.core.console import Console
from harness.pages.cards import audit_section, class_counts, facts, group_sentences, leak_sentences
from harness.pages.contents import PageTable
from harness.run.data_records import Card

_WIDE = 2000


def print_card(card: Card) -> None:
    """Print a card on standard output: the words of its page, without pictures."""
    console = Console(highlight=False)
    if not console.is_terminal:
        # Whoever reads it greps, and a folded line cannot be found.
        console.width = _WIDE
    known = Grid(box=None, show_header=False, pad_edge=False)
    known.add_column(style="dim", no_wrap=True)
    known.add_column(overflow="fold")
    for term, text in facts(card):
        # As Text, because a bracket in a user's word would be read as markup.
        known.add_row(term, Text(text))
    console.print(known)
    _print_table(console, class_counts(card["name"], card))
    audit = card["audit"]
    if audit is not None:
        section = audit_section(audit, None)
        for item in section.items:
            if isinstance(item, PageTable):
                _print_table(console, item)
        for note in audit["notes"]:
            console.print(Text(f"note: {note}"))
    for sentence in leak_sentences(card):
        console.print(Text(sentence, style="bold red" if card["leaks"]["any"] else "green"))
    for sentence in group_sentences(card):
        console.print(Text(sentence, style="bold yellow"))


def _print_table(console: Console, table: PageTable) -> None:
    grid = Grid(title=table.caption, title_justify="left", title_style="italic", box=None, pad_edge=False)
    for head, letter in zip(table.head, table.align, strict=True):
        grid.add_column(head, justify="right" if letter == "r" else "left", overflow="fold")
    for _, rows in table.groups:
        for row in rows:
            grid.add_row(*(Text(str(cell)) for cell in row))
    console.print(grid)
    if table.note:
        console.print(Text(table.note, style="dim"))
