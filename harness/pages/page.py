"""From sections to a page of HTML that needs nothing else, and to Markdown."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.core.errors import one_line
from harness.pages.contents import Marked, PageFigure, PageSection, Panel, Picture, notes_once
from harness.pages.palette import FAINT, INK, LINES, MEAN, PAPER, SEED, TINT

_TEMPLATES = Path(__file__).parent / "templates"
_CONTENTS_FROM = 6
"""Sections from which on a list of them is worth its place."""
_THEME = {
    INK: "var(--ink)",
    FAINT: "var(--rule)",
    SEED: "var(--seed)",
    MEAN: "var(--mean)",
    TINT: "var(--band)",
    PAPER: "var(--paper)",
    LINES[-1][0]: "var(--last)",
}


def html(
    title: str,
    lead: str,
    flags: Sequence[str],
    sections: Sequence[PageSection],
    trials: Mapping[str, Panel] | None = None,
) -> str:
    """The page: style, script, drawings and pictures inside, nothing to fetch. Every text is escaped.

    Its content security policy lets no other script run than the one that sorts and filters tables and shows trials.
    Without scripts all of the report can be read, but for the trials behind a cell.

    Args:
        title: of the page.
        lead: the sentence below it.
        flags: reservations that are to be read first.
        sections: the report, numbered.
        trials: what a click on a ``Marked`` cell shows, by ``Marked.cell``; a cell that is not in it
            leads nowhere.
    """
    environment = _environment(autoescape=True)
    environment.filters["drawing"] = _inline_svg
    environment.filters["data_uri"] = _data_uri
    environment.tests["marked"] = lambda cell: isinstance(cell, Marked)
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    template = environment.get_template("page.html.j2")
    return template.render(
        title=title,
        lead=lead,
        flags=flags,
        sections=notes_once(sections),
        contents_from=_CONTENTS_FROM,
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704  (our own file)
        script=Markup(script),  # noqa: S704  (our own file)
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        trials=_embedded(trials) if trials else None,
    )


def markdown(title: str, lead: str, flags: Sequence[str], sections: Sequence[PageSection]) -> str:
    """The same as Markdown with GitHub's tables; drawings and pictures are linked.

    Every text is escaped; marks alone become markup.
    """
    environment = _environment(autoescape=False)
    environment.finalize = _escape_markdown
    template = environment.get_template("page.md.j2")
    return template.render(title=title, lead=lead, flags=flags, sections=notes_once(sections))


def _environment(autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=autoescape,  # noqa: S701  (Markdown has its own escape)
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def _inline_svg(figure: PageFigure) -> Markup:
    """The drawing with the page's colours, a name for screen readers, and ids that no other drawing has."""
    svg = figure.svg.decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{figure.stem}-", svg)
    for colour, variable in _THEME.items():
        svg = svg.replace(colour, variable)
    label = Markup('<svg role="img" aria-label="{}"').format(figure.alt)
    return Markup(svg.replace("<svg", label, 1))  # noqa: S704  (matplotlib escapes the texts that it draws)


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"


def _embedded(value: Mapping[str, Panel]) -> Markup:
    """JSON that HTML takes for the content of a script element as it is: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


def _escape_markdown(value: Any) -> str:
    """Text that Markdown shows as it is: on one line, without markup, HTML or table bars; marks become markup."""
    if isinstance(value, Marked) and value.text:
        text = f"<u>{_escape_markdown(value.text)}</u>" if value.underline else _escape_markdown(value.text)
        return f"**{text}**" if value.bold else text
    text = one_line(str(value))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|#~])", r"\\\1", text)
    # Inside a word an underscore is itself; escaped there it would only make the source harder to read.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", text)
