"""The documents of the project and the blocks of code in them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from tiny import ROOT

PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/tutorials/*.md", "docs/decisions/*.md", "examples/*/*.md")
    for page in ROOT.glob(pattern)
)
"""What people wrote; the pages in ``docs/methods`` are generated, and tests/proof/test_methods_pages.py checks them."""

NOT_OURS = {
    "apt-get": "changes the machine",
    "cd": "changes the shell",
    "cp": "copies an example into the clone",
    "git": "needs the network",
    "make": "is this test's own caller",
    "sinfo": "needs a cluster",
    "source": "changes the shell",
    "ssh": "needs a cluster",
}
"""Programs that examples call and no test runs → why."""

IN_CLUSTER = {"slurm.cluster": "slurm.cluster.__main__", "slurm.chaos": "slurm.chaos"}
"""Commands for development, which are not in the table of ``harness/__main__.py`` → where their ``main`` is."""


@dataclass(frozen=True)
class Block:
    """A block of code."""

    page: str
    line: int
    language: str
    """As its fence says; ``indented`` where there is none."""
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))
    return [
        Block(
            page,
            token.map[0] + 1 if token.map else 0,
            token.info if token.type == "fence" else "indented",
            token.content,
        )
        for token in tokens
        if token.type in ("fence", "code_block")
    ]


def spans(page: str) -> Iterator[str]:
    """The code within sentences and tables."""
    for token in MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content


def commands(text: str) -> Iterator[list[str]]:
    """The command lines of a block as lists of words, without ``$``, variables and comments.

    After a line that begins with ``$`` the others are what that command printed.
    """
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        words = shlex.split(line, comments=True)
        while words and (words[0] in ("export", "exec") or words[0].partition("=")[0].isupper()):
            words = words[1:]
        if words:
            yield words


def is_python(word: str) -> bool:
    """Whether a program is Python, of whatever folder."""
    return Path(word).name in ("python", "python3.11")
