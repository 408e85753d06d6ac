"""Rules of the house that no library checks: ``python tests/house_rules.py`` is part of ``make check``.

Each rule is a function of a checkout's root that yields one line for each place that breaks it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
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
ROOMS = ("harness", "analysis", "methods", "datasets")
HEAVY = {
    *("torch", "torchvision", "numpy", "scipy", "polars", "matplotlib", "PIL", "optuna", "ray", "submitit"),
    *("pydantic", "rich", "jinja2", "psutil"),
}
"""Packages that take long to import."""
LATE = {
    "harness.activations.base": "the one operation knows the formulas that it has kernels for",
    "harness.activations.fused": "the same circle, from its other side",
    "harness.activations.curvature": "its kernel loads triton, which a CPU does without",
    "harness.work.reporting": "every worker and every status imports it, and few of them write a report",
}
"""Modules that import ours late though no heavy package is spared, with the reason."""
TOP_LEVEL = {
    *("README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "SECURITY.md"),
    *("Makefile", "pyproject.toml", "mkdocs.yml", ".ci", ".github", ".gitignore", ".pre-commit-config.yaml"),
    *("harness", "methods", "datasets", "sweeps", "slurm", "analysis", "tests", "docs", "examples", "benchmarks"),
}
"""All that is committed at the top; a run directory that a command left there is not."""
DOCUMENTS = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/*.md", "docs/tutorials/*.md", "examples/*/*.md")


def file_names(root: Path) -> Iterator[str]:
    """Names of files of a run directory outside of the room that knows them."""
    for part in ("harness", "analysis"):
        for path in sorted((root / part).rglob("*.py")):
            place = path.relative_to(root)
            if place.parts[:2] == ("harness", "run"):
                continue
            tree = _parsed(path.read_text())
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
            for node in _parsed(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(f"{path.relative_to(root)}:{node.lineno}")
    for name, found in sorted(places.items()):
        if len(found) > 1 and name not in TWICE:
            yield f"{found[1]}: the class {name} is also in {found[0]}"


def late_imports(root: Path) -> Iterator[str]:
    """Imports of ours within a function, which hide what a module needs, where they do not save time.

    A command may do so, because its help and its refusals come at once. Any other module may where the import leads
    to a package that takes long and that the module would otherwise do without.
    """
    modules = _modules(root)
    texts = {name: path.read_text() for name, path in modules.items()}
    at_once = {name: {target for late, _, target in _imports(text) if not late} for name, text in texts.items()}
    for name, text in sorted(texts.items()):
        command = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in _parsed(text).body)
        if command or name in LATE:
            continue
        loaded = _heavy({name}, at_once)
        found = {
            (line, target if target in modules else target.rpartition(".")[0])
            for late, line, target in _imports(text)
            if late
        }
        for line, module in sorted(found):
            if module in modules and not _heavy({module}, at_once) - loaded:
                yield f"{modules[name].relative_to(root)}:{line}: {module} saves nothing when it is imported late"


def top_level(root: Path) -> Iterator[str]:
    """What git tracks at the top of the checkout and does not belong there; nothing where it is no checkout."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=False)
    for name in sorted({path.partition("/")[0] for path in listed.stdout.split("\0") if path} - TOP_LEVEL):
        yield f"{name}: belongs into one of the folders, or not into the repository"


def _modules(root: Path) -> dict[str, Path]:
    """Our modules by their dotted names."""
    paths = [path for part in ROOMS for path in (root / part).rglob("*.py")]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


@cache
def _parsed(text: str) -> ast.Module:
    """The syntax of a module: every rule looks at it, and in tests at nearly the same modules in a copy."""
    return ast.parse(text)


@cache
def _imports(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Of each import: whether it is within a function, line and dotted name; those for types alone are left out."""
    return tuple(_imports_below(_parsed(text), within=False))


def _imports_below(tree: ast.AST, within: bool) -> Iterator[tuple[bool, int, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((within, node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            # Each may be a module of that package, or in that module.
            yield from ((within, node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            # Imports are statements, and no expression holds one.
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports_below(node, within or function)


def _heavy(names: set[str], at_once: Mapping[str, set[str]]) -> set[str]:
    """The heavy packages that are loaded when some modules are imported."""
    seen: set[str] = set()
    left = list(names)
    while left:
        parts = left.pop().split(".")
        for name in (".".join(parts[:count]) for count in range(1, len(parts) + 1)):
            if name not in seen:
                seen.add(name)
                left.extend(at_once.get(name, ()))
    return seen & HEAVY


def _docstrings(tree: ast.Module) -> set[int]:
    """Texts that stand alone, which say something and do nothing."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def main() -> int:
    """Print what breaks a rule; 1 where something does."""
    root = Path(__file__).parent.parent
    found = [line for rule in (file_names, commands, class_names, late_imports, top_level) for line in rule(root)]
    print("\n".join(found) or "house rules: kept")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
