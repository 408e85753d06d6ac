"""A checklist of the field, filled in from a run: ``python -m analysis.checklist RUN --kind claim2024 --out FILE``.

Each item has what the run says to it, with the values of this run, or the line "to be answered by you: …". It reads and
computes what a report reads and computes, and executes nobody's code.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.checklists import kinds
from analysis.imported.arguments import add_table_arguments, evidence_given, refuse_beside_run
from harness.core.arguments import check_out, parse, user_path
from harness.core.errors import EXIT_DONE, run_command
from harness.core.output import say

if TYPE_CHECKING:
    from analysis.checklists.form import Checklist
    from analysis.checklists.known import Known

KINDS = tuple(sorted(module.name for module in pkgutil.iter_modules(kinds.__path__)))
"""Names of the checklists: of the modules that define them."""
_EPILOG = """
FILE ends in .md or .html. Lines that begin with "to be answered by you" are what the run cannot know.
exit codes: 0 done, 2 the request was wrong
"""


def read_checklist(kind: str) -> Checklist:
    """One of ``KINDS``."""
    found: Checklist = importlib.import_module(f"{kinds.__name__}.{kind}").CHECKLIST
    return found


def write_checklist(known: Known, kind: str, out: Path) -> None:
    """Write a checklist as Markdown or as a page that needs nothing else; every text is escaped.

    Args:
        known: what is known of the comparison.
        kind: one of ``KINDS``.
        out: ends in ``.md`` or ``.html``; replaced if it is there.

    Raises:
        OSError: it cannot be written.
    """
    from analysis.checklists.page import filled_sections
    from harness.core.files import write_atomic
    from harness.pages import page
    from harness.pages.contents import numbered

    form = page.markdown if out.suffix.lower() == ".md" else page.html
    checklist = read_checklist(kind)
    lead, sections = filled_sections(checklist, known)
    title = f"{checklist.title}: {known.analysis.evidence.name}"
    write_atomic(out, form(title, lead, known.reservations, numbered(sections)).encode())


def _known(options: argparse.Namespace) -> Known:
    if options.run is not None:
        refuse_beside_run(options)
    check_out(options.out, options.run, (".md", ".html"))

    from analysis.checklists.known import known_of_run, known_of_tables
    from harness.run.directory import RunDirectory

    if options.run is None:
        return known_of_tables(evidence_given(options, "fill in"))
    return known_of_run(RunDirectory(options.run))


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m analysis.checklist``."""
    result = argparse.ArgumentParser(
        prog="python -m analysis.checklist",
        description="Fill in a checklist of the field from a run, and mark what only its author can answer.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "run", nargs="?", type=user_path, metavar="RUN", help="the run directory, finished or not; it is only read"
    )
    result.add_argument("--kind", required=True, choices=KINDS, help="the checklist")
    result.add_argument("--out", required=True, type=user_path, metavar="FILE", help="file to write, .md or .html")
    add_table_arguments(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = parse(parser(), argv)

    def command() -> int:
        write_checklist(_known(options), options.kind, options.out)
        say(str(options.out))
        return EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
