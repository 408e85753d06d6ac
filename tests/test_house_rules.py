"""``make check`` notices whoever breaks a rule of the house."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from house_rules import class_names, commands, file_names, late_imports, top_level
from tiny import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    for part in ("harness", "analysis", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_rules_are_kept_here() -> None:
    assert [*file_names(ROOT), *commands(ROOT), *class_names(ROOT), *late_imports(ROOT), *top_level(ROOT)] == []


def test_a_file_name_outside_of_its_room_is_found(checkout: Path) -> None:
    path = checkout / "harness" / "status" / "status.py"
    path.write_text(path.read_text() + '\n\nNAME = "studies/x/chosen.json"\n')
    (line,) = file_names(checkout)
    assert line.startswith("harness/status/status.py:") and "'chosen.json'" in line


def test_a_command_without_an_entry_is_found(checkout: Path) -> None:
    (checkout / "docs" / "new.md").write_text("Give\n\n    python -m harness.nowhere list\n")
    assert list(commands(checkout)) == ["docs/new.md:3: harness.nowhere is not in the table of harness/__main__.py"]


def test_a_class_name_that_means_two_things_is_found(checkout: Path) -> None:
    path = checkout / "harness" / "status" / "status.py"
    path.write_text(path.read_text() + "\n\nclass Planner:\n    pass\n")
    (line,) = class_names(checkout)
    assert "the class Planner is also in harness/s" in line


def test_an_import_within_a_function_that_saves_nothing_is_found(checkout: Path) -> None:
    path = checkout / "harness" / "status" / "status.py"
    late = "\n\ndef folder() -> None:\n    from harness.{} import {}\n    import json\n"
    path.write_text(path.read_text() + late.format("core", "identity") + late.format("train", "loop"))
    # The other one leads to torch, which this module does without.
    (line,) = late_imports(checkout)
    assert line.startswith("harness/status/status.py:") and "harness.core.identity saves nothing" in line


def test_what_a_command_left_at_the_top_is_found(tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "x" / "studies").mkdir(parents=True)
    for name in ("harness/plan.py", "x/spec.json", "x/studies/study.json"):
        (tmp_path / name).write_text("")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert list(top_level(tmp_path)) == []
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert list(top_level(tmp_path)) == ["x: belongs into one of the folders, or not into the repository"]


FORBIDDEN = {
    "A room uses only the rooms above it": ("harness/core/files.py", "from harness.run import directory"),
    "The harness uses the analysis in few": ("harness/doctor/finding.py", "from analysis.runs import summary"),
    "Statistics are functions of arrays": ("analysis/stats/paired.py", "from analysis.runs import summary"),
    "What reads and says needs no torch": ("harness/status/status.py", "import torch"),
    "The analysis reads runs and trains nothing": ("analysis/report.py", "from harness.train import loop"),
    "Launchers know nothing of one another": (
        "harness/launch/kinds/inline.py",
        "from harness.launch.slurm import files",
    ),
    "No circles": ("harness/core/errors.py", "from harness.core import files"),
}


def test_forbidden_imports_are_found(checkout: Path) -> None:
    for place, line in FORBIDDEN.values():
        path = checkout / place
        path.write_text(f"{path.read_text()}\n\n{line}  # noqa\n")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert len(broken) == len(FORBIDDEN), done.stdout
    assert all(any(line.startswith(contract) for line in broken) for contract in FORBIDDEN)
