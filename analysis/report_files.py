"""The files of a report: the page, Markdown, numbers, paper, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import to_json

from analysis.contracts import PLUGIN_STEM
from analysis.tables.axes import AXIS_STEMS
from analysis.tables.files import write_tables
from analysis.tables.latex import document
from analysis.tables.shifts import SHIFT_STEM
from harness.core.errors import RequestError
from harness.core.files import write_atomic
from harness.pages import page
from harness.pages.contents import PageFigure, PageSection, PageTable, Panel, Picture, numbered

PAPER_TABLES = (
    "main", "pairwise", "averages", "new_datasets", "claims", "power", "search", "hyperparameters", "networks", "cost",
    "failures",
)  # fmt: skip
"""Tables of ``paper.tex``, which is meant to be read; the others lie in ``tables/``."""


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Path of the parts of a report."""

    html: Path
    markdown: Path
    results: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report before it is written."""

    title: str
    lead: str
    flags: Sequence[str]
    sections: Sequence[PageSection]
    paragraphs: Sequence[str]
    """Of ``paper.tex``."""
    results: Mapping[str, object]
    trials: Mapping[str, Panel] | None = None
    """What a click on a cell of the page shows."""


def write(report: Report, folder: Path) -> ReportPaths:
    """Write all files of a report.

    Args:
        report: before it is written.
        folder: made where there is none.

    Raises:
        RequestError: ``folder`` is not a folder.
        OSError: it cannot be written.
    """
    try:
        for part in ("figures", "tables"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{folder}: not a folder; choose another with --out") from error
    sections = numbered(report.sections)
    items = [item for section in sections for item in section.items]
    for figure in (item for item in items if isinstance(item, PageFigure | Picture)):
        parts = {"png": figure.png}
        if isinstance(figure, PageFigure):
            parts |= {"svg": figure.svg, "pdf": figure.pdf}
        for suffix, content in parts.items():
            write_atomic(folder / "figures" / f"{figure.stem}.{suffix}", content)
    tables = [item for item in items if isinstance(item, PageTable)]
    write_tables(tables, folder / "tables")
    stems = (PLUGIN_STEM, SHIFT_STEM, *AXIS_STEMS)
    chosen = [table for table in tables if table.name in PAPER_TABLES or table.name.startswith(stems)]
    drawings = [item for item in items if isinstance(item, PageFigure)]
    paper = document(chosen, drawings, report.title, report.paragraphs)
    write_atomic(folder / "paper.tex", paper.encode())
    paths = ReportPaths(folder / "report.html", folder / "report.md", folder / "results.json")
    # With indentation Python's own encoder takes a second for a large report, and nothing else is left to do then.
    write_atomic(paths.results, to_json(dict(report.results), indent=2) + b"\n")
    parts_of_page = (report.title, report.lead, report.flags, sections)
    write_atomic(paths.markdown, page.markdown(*parts_of_page).encode())
    write_atomic(paths.html, page.html(*parts_of_page, trials=report.trials).encode())
    return paths
