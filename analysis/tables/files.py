"""Tables as files for a paper, a spreadsheet and a web page's source."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from analysis.tables import latex
from harness.core.csv_cells import guarded
from harness.core.errors import RequestError, one_line
from harness.core.files import write_atomic
from harness.pages.contents import Marked, PageTable, Text


def write_tables(tables: Sequence[PageTable], folder: Path) -> list[Path]:
    """Write NAME.tex, NAME.csv and NAME.md of every table that has a name and is not empty.

    Returns:
        What was written.

    Raises:
        RequestError: the folder is none and cannot be made.
        OSError: it cannot be written.
        ValueError: two tables of one name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{folder}: not a folder; choose another with --out") from error
    named = [table for table in tables if table.name and not table.empty]
    if len({table.name for table in named}) < len(named):
        raise ValueError(f"tables of one name: {', '.join(table.name for table in named)}")
    written = []
    for table in named:
        for suffix, text in (("tex", latex.table(table)), ("csv", comma_separated(table)), ("md", markdown(table))):
            path = folder / f"{table.name}.{suffix}"
            write_atomic(path, text.encode())
            written.append(path)
    return written


def comma_separated(table: PageTable) -> str:
    """What the table shows, with a first column ``Group``; numbers have an ASCII minus sign, and an apostrophe is put
    before text that a spreadsheet would run.

    The numbers at full precision are in ``results.json``.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["Group", *map(_plain, table.head)])
    for heading, rows in table.groups:
        writer.writerows([_plain(heading), *map(_plain, row)] for row in rows)
    return stream.getvalue()


def markdown(table: PageTable) -> str:
    """Caption, one table with GitHub's syntax for each group, and note; every text in it is escaped."""
    rule = "|" + "|".join({"r": "---:", "l": "---"}[letter] for letter in table.align) + "|"
    parts = [f"**{_escaped(table.caption)}**"]
    for heading, rows in table.groups:
        if heading:
            parts.append(f"*{_escaped(heading)}*")
        lines = [_line([_escaped(text) for text in table.head]), rule, *(_line(list(map(_cell, row))) for row in rows)]
        parts.append("\n".join(lines))
    if table.note:
        parts.append(_escaped(table.note))
    return "\n\n".join(parts) + "\n"


def _plain(cell: Text) -> str:
    return guarded(one_line(str(cell)).replace("\N{MINUS SIGN}", "-"))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Text) -> str:
    text = _escaped(str(cell))
    if isinstance(cell, Marked) and text:
        text = f"<ins>{text}</ins>" if cell.underline else text
        text = f"**{text}**" if cell.bold else text
    return text


def _escaped(text: str) -> str:
    """On one line, with every sign that means something to Markdown or HTML shown as itself."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text)
