"""What the documentation site generates: every command, key and public name, and nothing from a network."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tiny import ROOT

from harness.__main__ import COMMANDS
from harness.core.public_names import PLACES
from harness.studies.schema import schema as json_schema


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The hooks that mkdocs calls; the strict build itself is ``make docs``."""
    pytest.importorskip("mkdocs", reason="builds the site; it is in the extra docs")
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_command_is_there_with_its_help(hooks: ModuleType) -> None:
    parts = re.split(r"^## ", hooks.commands_page(), flags=re.MULTILINE)[1:]
    assert [part.partition("\n")[0] for part in parts] == list(COMMANDS)
    assert all("```text\nusage: " in part and "--help" in part for part in parts)


def test_every_key_of_a_sweep_file_is_there(hooks: ModuleType) -> None:
    page = hooks.schema_page()
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        assert all(f"| `{key}` |" in page for key in section.get("properties", {}))
    assert "| `epochs` | `30` | integer from 1 to 100,000 |" in page


def test_every_public_name_is_there(hooks: ModuleType) -> None:
    named = re.findall(r"^::: (\S+)$", hooks.api_page(), flags=re.MULTILINE)
    assert sorted(named) == sorted(f"{place}.{name}" for name, place in PLACES.items())


def test_pages_of_the_root_keep_their_links(hooks: ModuleType) -> None:
    siblings = {place.rpartition("/")[2] for place in hooks.COPIED.values()}
    for source, place in hooks.COPIED.items():
        text = hooks.copied((ROOT / source).read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#]+)", text):
            # The folder of the copies is there while the site is built alone.
            path = Path(os.path.normpath((ROOT / "docs" / place).parent / target))
            assert target.startswith("http") or target in siblings or path.exists(), f"{source}: {target}"


@pytest.mark.parametrize(
    ("html", "loads"),
    [
        ('<a href="https://example.org">x</a><link rel="canonical" href="https://example.org">', []),
        ('<link rel="stylesheet" href="assets/x.css"><script src="../x.js"></script>', []),
        ('<script src="https://cdn.example.org/x.js"></script>', ["https://cdn.example.org/x.js"]),
        ('<link rel="stylesheet" href="//fonts.example.org/x.css">', ["//fonts.example.org/x.css"]),
        ('<img src="http://example.org/x.png">', ["http://example.org/x.png"]),
    ],
)
def test_what_a_page_would_load_from_a_network_is_found(hooks: ModuleType, html: str, loads: list[str]) -> None:
    assert list(hooks.loaded_from_network(html)) == loads
