"""Rules of the house that no library checks: ``python tests/house_rules.py`` is part of ``make check``.

Each rule is a function of a checkout's root that yields one line for each place that breaks it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

RUN_FILES = re.compile(
    r"(spec|plan|environment|declaration|exhausted|study|prior|chosen|trial|result)\.json|(curve|decisions|schedule)\.jsonl"
    r"|predictions\.parquet|checkpoint\.pt|results\.index|model\.safetensors|environment\.patch"
)
COMMAND = re.compile(r"python -m ((?:harness|analysis)\.\w+)")
TWICE = (
    # Another name would change the code hashes of methods, and make studies stale.
    "Activation",
    "CurvatureTuning",
)
"""Names of classes that are used twice."""
DOCUMENTS = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/*.md", "docs/tutorials/*.md", "examples/*/*.md")


def file_names(root: Path) -> Iterator[str]:
    """Names of files of a run directory outside of the room that knows them."""
    for part in ("harness", "analysis"):
        for path in sorted((root / part).rglob("*.py")):
            place = path.relative_to(root)
            if place.parts[:2] == ("harness", "run"):
                continue
            tree = ast.parse(path.read_text())
            said = _docstrings(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
                    for word in node.value.split("/"):
                        if RUN_FILES.fullmatch(word):
                            yield f"{place}:{node.lineno}: {word!r} is a name that harness.run gives"


def commands(root: Path) -> Iterator[str]:
    """Commands that a document names and the table in ``harness/__main__.py`` does not have."""
    text = (root / "harness" / "__main__.py").read_text()
    table = next(
        ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMANDS"
    )
    known = {module.removesuffix(".__main__") for module, _ in table.values()}
    for pattern in DOCUMENTS:
        for path in sorted(root.glob(pattern)):
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                for name in COMMAND.findall(line):
                    if name not in known:
                        yield f"{path.relative_to(root)}:{number}: {name} is not in the table of harness/__main__.py"


def class_names(root: Path) -> Iterator[str]:
    """Public names of classes that mean two things."""
    places: dict[str, list[str]] = {}
    for part in ("harness", "analysis", "methods", "datasets", "slurm"):
        for path in sorted((root / part).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(f"{path.relative_to(root)}:{node.lineno}")
    for name, found in sorted(places.items()):
        if len(found) > 1 and name not in TWICE:
            yield f"{found[1]}: the class {name} is also in {found[0]}"


def _docstrings(tree: ast.Module) -> set[int]:
    """Texts that stand alone, which say something and do nothing."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def main() -> int:
    """Print what breaks a rule; 1 where something does."""
    root = Path(__file__).parent.parent
    found = [line for rule in (file_names, commands, class_names) for line in rule(root)]
    print("\n".join(found) or "house rules: kept")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
