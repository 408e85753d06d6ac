"""A run's state as a page that loads itself again: one file, nothing to fetch, no script."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypedDict

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.status.status import RunStatus
from harness.status.terminal import RUNNING, running_cells, sentences
from harness.studies.overview import StudyOverview


def page(found: RunStatus, reload: int) -> str:
    """The page; every text in it is escaped.

    Args:
        found: how the run stands.
        reload: after how many seconds the page is loaded again, until the run is over.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["breakable"] = _breakable
    overview = found.overview
    parts = [_row(part) for part in overview.parts]
    whole = {key: sum(part[key] for part in parts) for key in ("total", "done", "failed", "running")}
    return environment.get_template("status.html.j2").render(
        name=overview.name,
        at=time.strftime("%a %d %b %Y, %H:%M:%S", time.localtime(found.at)),
        reload=None if overview.complete or overview.exhausted else reload,
        done=whole["done"] + whole["failed"],
        total=whole["total"],
        whole=whole,
        lines=sentences(found),
        parts=parts,
        heads=RUNNING,
        running=[running_cells(trial) for trial in overview.running],
    )


def _breakable(name: str) -> Markup:
    """A name that a narrow screen may fold at its underscores and signs."""
    text = escape(name)
    for sign in ("_", "@"):
        text = text.replace(sign, Markup("{}<wbr>").format(sign))
    return text


class _Row(TypedDict):
    name: str
    total: int
    done: int
    failed: int
    running: int
    left: int
    best: str


def _row(part: StudyOverview) -> _Row:
    return {
        "name": part.name,
        "total": part.total,
        "done": part.done,
        "failed": part.failed,
        "running": len(part.running),
        "left": part.left,
        "best": "" if part.best is None else f"{part.best:.4f}",
    }
