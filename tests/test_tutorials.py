"""The tutorials work: their files are written out, and their commands run in order, as a reader would."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import NOT_OURS, blocks, commands, is_python
from tiny import ROOT, environment
from warm import warm

EXAMPLES = ROOT / "examples"


def python(folder: Path, *words: str, **more: str) -> str:
    env = {**environment(folder / "cache"), "OMP_NUM_THREADS": "1", **more}
    command = warm([sys.executable, *words])
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def follow(name: str, folder: Path) -> str:
    """Write a tutorial's files and run its commands, in order; returns what they print."""
    (folder / "examples").symlink_to(EXAMPLES)
    said = []
    for block in blocks(f"docs/tutorials/{name}.md"):
        place = re.match(r"# (\S+)\n", block.text)
        if block.language in ("python", "yaml"):
            assert place, f"{block} does not begin with the name of its file"
            path = folder / place[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.language != "bash" or "pip install" in block.text:  # tests/test_examples.py installs the package
            continue
        for words in commands(block.text):
            if words[0] not in NOT_OURS:
                assert is_python(words[0]), words
                said.append(python(folder, *words[1:]))
    assert len(said) >= 3
    return "".join(said)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who has followed the first tutorial."""
    folder = tmp_path_factory.mktemp("first")
    follow("first-sweep", folder)
    return folder


def test_the_first_sweep_ends_with_a_report(first: Path) -> None:
    assert "lora_c" in (first / "runs" / "first" / "report" / "report.html").read_text(encoding="utf-8")


def test_the_notebook_reads_that_run(first: Path) -> None:
    # Jupyter would be dozens of packages for this: the cells run in order in a fresh process, as in a kernel.
    cells = json.loads((EXAMPLES / "read_a_run.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (first / "cells.py").write_text("\n\n".join(code), encoding="utf-8")
    said = python(first, "cells.py", RUN="runs/first", MPLBACKEND="agg")
    assert "lora_c - linear_probe" in said
    assert (first / "scores.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "said"),
    [("own-method", "stage_gates: kept"), ("own-dataset", "No leak was found")],
)
def test_a_tutorial_works(name: str, said: str, tmp_path: Path) -> None:
    assert said in follow(name, tmp_path)


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
