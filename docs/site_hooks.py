"""What the documentation site generates from the code, called by mkdocs (``hooks`` in ``mkdocs.yml``).

Pages of commands, of the sweep file's schema and of the plugin API are made anew by each build, so that they cannot
lag behind. A built page that would load anything from a network fails the build.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

COPIED = {
    "SECURITY.md": "reference/security.md",
    "CONTRIBUTING.md": "reference/contributing.md",
    "CHANGELOG.md": "reference/changelog.md",
}
"""Pages that are at the root of the repository, where forges look for them → their place in the site."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace ``FOLDER/*`` in the navigation by the pages of that folder, its README first."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for source, place in COPIED.items():
        files.append(File.generated(config, place, content=copied((ROOT / source).read_text(encoding="utf-8"))))
    for place, content in (
        ("reference/commands.md", commands_page()),
        ("reference/sweep-schema.md", schema_page()),
        ("reference/api.md", api_page()),
    ):
        files.append(File.generated(config, place, content=content))
    return files


def on_post_page(output: str, config: MkDocsConfig, **_: Any) -> str:
    """Refuse a page that would load something from a network.

    Raises:
        PluginError: it would.
    """
    if loaded := sorted(set(loaded_from_network(output))):
        raise PluginError(f"a page of the site loads {', '.join(loaded)}")
    return output


def copied(text: str) -> str:
    """A page of the repository's root, with its links as they are from the folder ``reference``."""

    def target(match: re.Match[str]) -> str:
        to = match[1]
        if to.startswith("docs/"):
            return f"](../{to.removeprefix('docs/')})"
        return f"]({Path(COPIED[to]).name})" if to in COPIED else match[0]

    return re.sub(r"\]\(([^)]+)\)", target, text)


def commands_page() -> str:
    """Each command of the one table, with what its ``--help`` prints."""
    from harness.__main__ import COMMANDS

    parts = [
        "# Commands",
        "Each command is `python -m MODULE` in a clone, and `gpaf-bench NAME` where the package is installed."
        " Exit codes: 0 done, 1 some trials failed for good, 2 the request was wrong, 130 interrupted.",
    ]
    for name, (module, what) in COMMANDS.items():
        door = module.removesuffix(".__main__")
        parts += [
            f"## {name}",
            f"{what[:1].upper()}{what[1:]}: `python -m {door}`.",
            f"```text\n{help_of(module)}\n```",
        ]
    return "\n\n".join(parts) + "\n"


def help_of(module: str) -> str:
    """What a command prints when it is asked for help, 100 columns wide."""
    said = io.StringIO()
    plain = {"COLUMNS": "100", "NO_COLOR": "1"}
    with mock.patch.dict(os.environ, plain), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    return said.getvalue().rstrip()


def schema_page() -> str:
    """The keys of a sweep file, section by section, from its JSON Schema."""
    from harness.studies.schema import schema as schema_of

    schema: dict[str, Any] = {**schema_of()}
    parts = [
        "# Schema of the sweep file",
        "Generated from the JSON Schema that `python -m harness.spec --schema` prints and editors use."
        " [The sweep file](../sweep-file.md) explains the keys.",
        "## Top level",
        _keys_table(schema),
    ]
    for name, section in schema["$defs"].items():
        if section.get("properties"):
            parts += [f"## {name}", _cell(section.get("description", "")), _keys_table(section)]
    return "\n\n".join(parts) + "\n"


def api_page() -> str:
    """The public names for plugins, from their docstrings, grouped by the module that they come from."""
    from harness.core.public_names import PLACES

    parts = [
        "# Plugin API",
        "A plugin imports these names from `harness.api`, and nothing else of the harness. Other modules may change"
        " with any version; these names stay. The module in a heading is where a name is defined, not where to import"
        " it from.",
    ]
    for module in dict.fromkeys(PLACES.values()):
        parts.append(f"## Defined in `{module}`")
        parts += [f"::: {module}.{name}" for name, place in PLACES.items() if place == module]
    return "\n\n".join(parts) + "\n"


def loaded_from_network(html: str) -> Iterator[str]:
    """Addresses that a browser would load to show a page; links that a reader may follow are not among them."""
    reader = _Loaded()
    reader.feed(html)
    yield from reader.found


class _Loaded(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        sources = [given.get("src"), given.get("srcset")]
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            sources.append(given.get("href"))
        self.found += [one for one in sources if one and re.match(r"(https?:)?//", one)]


def _expanded(nav: Any, docs: Path) -> Any:
    if isinstance(nav, list):
        return [_expanded(one, docs) for one in nav]
    if isinstance(nav, dict):
        return {title: _expanded(one, docs) for title, one in nav.items()}
    if isinstance(nav, str) and nav.endswith("/*"):
        pages = sorted(
            (docs / nav.removesuffix("/*")).glob("*.md"), key=lambda page: (page.name != "README.md", page.name)
        )
        return [page.relative_to(docs).as_posix() for page in pages]
    return nav


def _keys_table(section: dict[str, Any]) -> str:
    rows = ["| key | default | takes | meaning |", "|---|---|---|---|"]
    for key, form in section["properties"].items():
        default = "required" if key in section.get("required", ()) else f"`{_json(form.get('default'))}`"
        rows.append(
            f"| `{key}` | {default} | {_cell(' or '.join(_kinds(form)))} | {_cell(form.get('description', ''))} |"
        )
    return "\n".join(rows)


def _kinds(form: dict[str, Any]) -> Iterator[str]:
    """What a key takes, in words."""
    for several in ("anyOf", "oneOf"):
        for one in form.get(several, ()):
            yield from _kinds(one)
    if "$ref" in form:
        yield form["$ref"].rpartition("/")[2]
    elif "enum" in form:
        yield ", ".join(f"`{_json(one)}`" for one in form["enum"])
    elif "const" in form:
        yield f"`{_json(form['const'])}`"
    elif "type" in form:
        least, most = (form.get(name, form.get(f"exclusive{name.capitalize()}")) for name in ("minimum", "maximum"))
        limits = [f"from {least:,}" if least is not None else "", f"to {most:,}" if most is not None else ""]
        yield " ".join(filter(None, [form["type"], *limits]))


def _json(value: Any) -> str:
    import json

    return json.dumps(value)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
