"""Each block of code in a document is run, or checked as far as it can be, or has a reason."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import pytest
import yaml
from documents import IN_CLUSTER, NOT_OURS, PAGES, Block, blocks, commands, is_python, spans
from home import Home
from tiny import ROOT

from harness.__main__ import COMMANDS
from harness.studies.loading import load_mapping

PICTURES = {
    ("docs/architecture.md", "sweep file → spec"): "a picture",
    ("docs/writing-a-dataset.md", "my_images/CLASS"): "folders",
}
"""Indented blocks that are no commands, by their page and beginning → what they are."""

RUN = {
    "docs/writing-a-method.md": "tests/test_docs.py",
    "docs/writing-a-dataset.md": "tests/test_docs.py",
    "docs/writing-a-launcher.md": "tests/launch/test_launchers.py",
    "docs/writing-an-export-or-figure.md": "tests/test_docs.py",
    "docs/writing-a-metric.md": "tests/test_docs.py",
    "docs/writing-an-evaluation.md": "tests/evaluations/test_own_evaluation.py",
    "docs/writing-a-sampler.md": "tests/search/test_samplers.py",
    "docs/writing-an-engine.md": "tests/search/test_own_engine.py",
    "docs/using-a-model.md": "tests/predict/test_predict.py",
    "docs/tutorials/first-sweep.md": "tests/test_tutorials.py",
    "docs/tutorials/own-method.md": "tests/test_tutorials.py",
    "docs/tutorials/own-dataset.md": "tests/test_tutorials.py",
}
"""Pages whose blocks of Python are files, which another test writes out and runs → that test."""

TABLES = {
    "docs/import-results.md": "tests/analysis/test_table_evidence.py",
    "docs/tutorials/own-dataset.md": "tests/test_tutorials.py",
}
"""Pages with tables as CSV → the test that reads them."""

BLOCKS = [block for page in PAGES for block in blocks(page)]
MODULES = {module.removesuffix(".__main__"): module for module, _ in COMMANDS.values()} | IN_CLUSTER


def of(*languages: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


def picture(block: Block) -> bool:
    return any(block.page == page and block.text.startswith(beginning) for page, beginning in PICTURES)


class Parsed(BaseException):
    """A command has understood its arguments; it is not to go on."""


def understands(module: str, words: list[str]) -> None:
    """Have a command's own parser read its arguments.

    Raises:
        AssertionError: it refuses them.
    """
    real: Callable[..., argparse.Namespace] = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser, *arguments: Any) -> NoReturn:
        real(parser, *arguments)
        raise Parsed

    with mock.patch.object(argparse.ArgumentParser, "parse_args", parse_only), mock.patch.dict(os.environ):
        try:
            importlib.import_module(module).main(words)
        except Parsed:
            return
        except SystemExit:
            pass
    raise AssertionError(f"{module} does not understand {words}")


def check_command(words: list[str]) -> None:
    """Check one command line as far as that can be done without running it."""
    if words[0] == "gpaf-bench":
        understands(COMMANDS[words[1]][0], words[2:])
    elif is_python(words[0]) and words[1] == "-m":
        name, rest = words[2], words[3:]
        if name in MODULES:
            understands(MODULES[name], rest)
        elif name.startswith(("tests.", "benchmarks.")):
            assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name
        else:
            assert name in ("pip", "venv"), f"{name} is no command of ours"
    elif is_python(words[0]) or words[0] == "bash":
        assert (ROOT / words[1]).is_file(), words
    else:
        assert words[0] in NOT_OURS, words


@pytest.mark.parametrize("block", [one for one in of("bash", "indented") if not picture(one.values[0])])
def test_commands_are_understood(block: Block) -> None:
    found = list(commands(block.text))
    assert found, "neither commands nor in PICTURES"
    for words in found:
        check_command(words)


def test_a_wrong_option_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match="does not understand"):
        check_command(["python", "-m", "harness.sweep", "x.yaml", "--dryrun"])
    with pytest.raises(AssertionError, match="no command of ours"):
        check_command(["python", "-m", "harness.core"])


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_are_understood(page: str) -> None:
    for text in spans(page):
        if re.match(r"(python -m (harness|analysis|slurm)|gpaf-bench)\S* \S", text) and not set("…[|") & set(text):
            for words in commands(text):
                check_command(words)


FRAME = {"name": "x", "backbone": {"name": "resnet20"}, "datasets": ["digits"], "methods": ["linear_probe"]}


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_is_a_sweep_file_or_a_part_of_one(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("sweeps/my_plugins", "my_plugins", "sweeps/pretrained"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sweeps" / "pretrained" / "RadImageNet_ResNet50.pt").touch()
    shutil.copytree(ROOT / "slurm" / "profiles", tmp_path / "slurm" / "profiles")
    shutil.copy(ROOT / "slurm" / "profiles" / "example.yaml", tmp_path / "slurm" / "profiles" / "mine.yaml")
    monkeypatch.chdir(tmp_path / "sweeps")
    given = yaml.safe_load(block.text) or {}
    frame = {key: value for key, value in FRAME.items() if key != "backbone" or "backbones" not in given}
    load_mapping({**frame, **given})


@pytest.mark.parametrize("block", of("python"))
def test_python_is_run(block: Block, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    if block.page in RUN:
        assert block.text.startswith("# ") and Path(block.page).stem in (ROOT / RUN[block.page]).read_text()
    elif (
        block.page == "docs/little-cluster.md"
    ):  # needs root and Slurm; tests/slurm/test_little_cluster.py does the same
        used = {node.module: node.names for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.ImportFrom)}
        for module, names in used.items():
            assert all(hasattr(importlib.import_module(str(module)), alias.name) for alias in names)
    else:
        monkeypatch.chdir(home.run)
        done = subprocess.run([sys.executable, "-c", block.text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", of("toml"))
def test_toml_is_a_part_of_the_example(block: Block) -> None:
    whole = tomllib.loads((ROOT / Path(block.page).parent / "pyproject.toml").read_text())
    part = tomllib.loads(block.text)
    assert part["project"]["entry-points"] == whole["project"]["entry-points"]


def test_there_are_no_other_blocks() -> None:
    kinds = {"bash", "indented", "yaml", "python", "toml"}
    others = [
        str(one) for one in BLOCKS if one.language not in kinds and not (one.language == "csv" and one.page in TABLES)
    ]
    assert others == []
    assert all((ROOT / test).is_file() for test in (*RUN.values(), *TABLES.values()))
    stale = [key for key in PICTURES if not any(one.page == key[0] and one.text.startswith(key[1]) for one in BLOCKS)]
    assert stale == []


NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_notebooks_are_kept_without_outputs() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert all(
            cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code"
        )
