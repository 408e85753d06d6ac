"""The tutorials work: their files are written out, and their commands run in order, as a reader would."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import NOT_OURS, blocks, commands, is_python
from tiny import ROOT, environment

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("name", ["first-sweep", "own-method", "own-dataset"])
def test_a_tutorial_works(name: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    env = {**environment(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    ran = 0
    for block in blocks(f"docs/tutorials/{name}.md"):
        place = re.match(r"# (\S+)\n", block.text)
        if block.language in ("python", "yaml"):
            assert place, f"{block} does not begin with the name of its file"
            path = tmp_path / place[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.language != "bash" or "pip install" in block.text:  # tests/test_examples.py installs the package
            continue
        for words in commands(block.text):
            if words[0] in NOT_OURS:
                continue
            assert is_python(words[0]), words
            done = subprocess.run(
                [sys.executable, *words[1:]], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500
            )
            assert done.returncode == 0, f"{block}: {words}\n{done.stdout}{done.stderr}"
            ran += 1
    assert ran >= 3


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("own-method", "plugin_package/src/gpaf_bench_stage_gates/stage_gates.py"),
        ("own-dataset", "csv_dataset/plugins/cells.py"),
    ],
)
def test_a_tutorial_shows_the_example(name: str, source: str) -> None:
    (shown,) = (block for block in blocks(f"docs/tutorials/{name}.md") if block.language == "python")
    assert shown.text.partition("\n")[2] == (EXAMPLES / source).read_text(encoding="utf-8")


def test_the_table_in_the_tutorial_is_the_one_that_is_drawn(tmp_path: Path) -> None:
    (shown,) = (block for block in blocks("docs/tutorials/own-dataset.md") if block.language == "csv")
    shutil.copy(EXAMPLES / "csv_dataset" / "draw_cells.py", tmp_path)
    subprocess.run([sys.executable, "draw_cells.py", "archives"], cwd=tmp_path, check=True)
    drawn = (tmp_path / "archives" / "cells" / "labels.csv").read_text(encoding="utf-8").splitlines()
    assert set(shown.text.splitlines()) <= set(drawn)
