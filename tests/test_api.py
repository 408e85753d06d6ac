"""The public face: every name is there, and built-in plugins need nothing else of the harness."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

from tiny import ROOT

from harness import api
from harness.core.public_names import PLACES


def imports(path: Path) -> set[tuple[str, str]]:
    """(module, name) of each import from a module."""
    tree = ast.parse(path.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0]
    return {(str(node.module), alias.name) for node in found for alias in node.names}


def test_every_public_name_is_there_for_programs_and_for_type_checkers() -> None:
    for name, place in PLACES.items():
        assert getattr(api, name) is getattr(importlib.import_module(place), name)
    typed = {(place, name) for place, name in imports(Path(api.__file__)) if name in PLACES and name != "PLACES"}
    assert typed == {(place, name) for name, place in PLACES.items()}
    assert dir(api) == sorted(PLACES) and not hasattr(api, "planning")


def test_built_in_plugins_import_nothing_else() -> None:
    for path in (*(ROOT / "methods").glob("*.py"), *(ROOT / "datasets").glob("*.py")):
        assert {place for place, _ in imports(path) if place.startswith("harness")} <= {"harness.api"}, path


def test_it_loads_little() -> None:
    code = "import sys; from harness.api import DataError, Dataset, Float; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
