"""From sections to a page of HTML that needs nothing else, and to Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.contents import Figure, Picture, Section
from analysis.figures import FAINT, INK, MEAN, SEED
from harness.errors import one_line

_TEMPLATES = Path(__file__).parent / "templates"
_THEME = {INK: "var(--ink)", FAINT: "var(--rule)", SEED: "var(--seed)", MEAN: "var(--mean)"}


def html(title: str, lead: str, flags: Sequence[str], sections: Sequence[Section]) -> str:
    """The page: style, drawings and pictures inside, no script, nothing to fetch. Every text is escaped."""
    environment = _environment(autoescape=True)
    environment.filters["drawing"] = _inline_svg
    environment.filters["data_uri"] = _data_uri
    style = Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704  (our own file)
    template = environment.get_template("report.html.j2")
    return template.render(title=title, lead=lead, flags=flags, sections=sections, style=style)


def markdown(title: str, lead: str, flags: Sequence[str], sections: Sequence[Section]) -> str:
    """The same as Markdown with GitHub's tables; drawings and pictures are linked. Every text is escaped."""
    environment = _environment(autoescape=False)
    environment.finalize = _escape_markdown
    template = environment.get_template("report.md.j2")
    return template.render(title=title, lead=lead, flags=flags, sections=sections)


def _environment(autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=autoescape,  # noqa: S701  (Markdown has its own escape)
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def _inline_svg(figure: Figure) -> Markup:
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


def _escape_markdown(value: Any) -> str:
    """Text that Markdown shows as it is: on one line, without markup, HTML or table bars."""
    text = one_line(str(value))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|#~])", r"\\\1", text)
    # Inside a word an underscore is itself; escaped there it would only make the source harder to read.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", text)
