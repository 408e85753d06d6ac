"""The map of the rooms names what is there, and its ways return to no room without a reason."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from documents import PAGES, spans
from tiny import ROOT

from harness.core.public_names import PLACES

MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WAYS = re.findall(r"^### (The way of .*?)\n\n((?:\|.*\n)+)", MAP, flags=re.MULTILINE)
FOLDERS = ("harness", "analysis", "methods", "datasets", "slurm", "tests", "benchmarks", "sweeps", "docs", "examples")


def rows(table: str) -> list[tuple[str, str]]:
    """(module, text) of each row."""
    found = [re.fullmatch(r"\| `(\S+)` \| (.+) \|", line) for line in table.splitlines()[2:]]
    assert all(found), table
    return [(row[1], row[2]) for row in found if row]


def room(module: str) -> str:
    """The folder of ``harness`` or ``analysis`` that a module is in, or the module itself."""
    return ".".join(module.split(".")[:2])


def test_there_are_four_ways() -> None:
    assert [title.rpartition(" ")[2] for title, _ in WAYS] == ["trial", "image", "hyperparameter", "number"]


@pytest.mark.parametrize(("title", "table"), WAYS)
def test_a_way_returns_to_a_room_only_with_a_reason(title: str, table: str) -> None:
    left: set[str] = set()
    before = ""
    for module, text in rows(table):
        assert is_there(module), module
        here = room(module)
        if here != before:
            left.add(before)
            assert (here in left) == text.startswith("*Back, because "), f"{title}: {module}"
        before = here


def test_every_room_is_on_the_map() -> None:
    table = MAP[MAP.index("| room |") : MAP.index("`analysis/` reads")]
    named = {word.rstrip("/") for word in re.findall(r"`([\w/]+(?:/|\.py))`", table)}
    top = {path.name for path in (ROOT / "harness").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert top <= named
    assert all((ROOT / "harness" / name).exists() for name in named)


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# {page.name[:4]}: .+\n\nDate: 20\d\d-\d\d-\d\d\n", text)
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_decisions_are_numbered_and_listed() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    listed = re.findall(r"\]\((0.*\.md)\)", (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8"))
    assert listed == [page.name for page in DECISIONS]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_what_documents_name_is_there(page: str) -> None:
    for text in spans(page):
        if re.fullmatch(rf"({'|'.join(FOLDERS)})(/[\w.\-]+)+/?", text):
            assert (ROOT / text).exists(), f"{page}: {text}"
        elif re.fullmatch(r"(harness|analysis)(\.\w+)+", text):
            assert is_there(text), f"{page}: {text}"


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or defined in one."""
    path = ROOT.joinpath(*dotted.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module, _, name = dotted.rpartition(".")
    if module == "harness.api":
        return name in PLACES
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    if not source.is_file():
        return False
    body = ast.parse(source.read_text(encoding="utf-8")).body
    defined = {getattr(node, "name", None) for node in body}
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    return name in defined
