"""A card of the models of one cell, for whoever is given them: ``python -m analysis.model_card RUN CELL --out FILE``.

It says what the report says, of one method on one dataset: data, training, choice, scores with what their intervals
hold for, and limits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import check_out, parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.core.output import say

if TYPE_CHECKING:
    from analysis.card_sections import CardFacts

_EPILOG = """
CELL is METHOD@DATASET with the labels of the sweep file, such as gpaf@isic2018. FILE ends in .md or .html.
exit codes: 0 done, 2 the request was wrong
"""


def write_card(run: Path, cell: str, out: Path) -> None:
    """Write the card of a cell as Markdown or as a page that needs nothing else; every text is escaped.

    Args:
        run: the run directory, which is only read.
        cell: ``METHOD@DATASET``.
        out: ends in ``.md`` or ``.html``; replaced if it is there.

    Raises:
        RequestError: there is no such run or cell, it has no result, or the ending is another one.
        TornFileError: a file of the run is not readable.
        OSError: the card cannot be written.
    """
    check_out(out, run, (".md", ".html"))
    facts = _facts(run, cell)

    from analysis.card_sections import card_sections, lead, reservations
    from harness.core.files import write_atomic
    from harness.pages import page
    from harness.pages.contents import numbered

    form = page.markdown if out.suffix.lower() == ".md" else page.html
    parts = (f"{facts.method} on {facts.dataset}", lead(facts), reservations(facts), numbered(card_sections(facts)))
    write_atomic(out, form(*parts).encode())


def _facts(path: Path, text: str) -> CardFacts:
    from harness.run.cells import parse_cell
    from harness.run.directory import RunDirectory
    from harness.run.links import refuse_links

    run = RunDirectory(path)
    run.require()
    refuse_links(run)
    cell = parse_cell(run, text)
    if len(cell.methods) > 1 or cell.seed is not None:
        raise RequestError(f"CELL {text}: a card is of one method on one dataset; write METHOD@DATASET")

    from analysis.card_sections import read_facts

    return read_facts(run, cell.methods[0], cell.dataset)


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m analysis.model_card``."""
    result = argparse.ArgumentParser(
        prog="python -m analysis.model_card",
        description="Write a card of the models of one method on one dataset: data, training, scores, limits.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="the run directory, which is only read")
    result.add_argument("cell", metavar="CELL", help="whose card, see below")
    result.add_argument("--out", required=True, type=user_path, metavar="FILE", help="card to write, .md or .html")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = parse(parser(), argv)

    def command() -> int:
        write_card(options.run, options.cell, options.out)
        say(str(options.out))
        return EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
