"""The examples work: the package is built, installed and found, the dataset reads its table.

tests/test_tutorials.py runs the notebook.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from tiny import ROOT, environment
from warm import warm

from harness.sweep.__main__ import main as sweep

EXAMPLES = ROOT / "examples"
PACKAGE = EXAMPLES / "plugin_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed, from the wheel that its own build makes."""
    pytest.importorskip("hatchling", reason="builds the package; it is in the extra dev")
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=PACKAGE, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    env = environment(folder / "cache")
    return {**env, "PYTHONPATH": os.pathsep.join([str(folder / "site"), env["PYTHONPATH"]]), "OMP_NUM_THREADS": "1"}


def python(env: dict[str, str], *words: str, cwd: Path = ROOT) -> str:
    command = warm([sys.executable, *words])
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_plugin_is_found_and_keeps_its_promises(installed: dict[str, str], tmp_path: Path) -> None:
    (name,) = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]["gpaf_bench.plugins"]
    assert name in python(installed, "-m", "harness.plugins", cwd=tmp_path)
    assert f"{name}: kept" in python(installed, "-m", "harness.check_methods", "--method", name, cwd=tmp_path)


def test_the_packages_own_tests_pass(installed: dict[str, str]) -> None:
    assert "2 passed" in python(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PACKAGE / "tests"))


def test_the_sweep_on_a_csv_dataset_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    subprocess.run([sys.executable, EXAMPLES / "csv_dataset" / "draw_cells.py", tmp_path / "archives"], check=True)
    command = [str(EXAMPLES / "csv_dataset" / "sweep.yaml"), "--data-root", str(tmp_path / "archives"), "--dry-run"]
    assert sweep([*command, "--run-dir", str(tmp_path / "run")]) == 0
    assert "cells" in capsys.readouterr().out


def test_a_table_with_a_mistake_is_refused_in_one_line(tmp_path: Path) -> None:
    from harness.api import DataError, Dataset
    from harness.plugins import discover

    dataset = discover([EXAMPLES / "csv_dataset" / "plugins"]).find(Dataset, "cells", "test").cls()
    table = tmp_path / "cells" / "labels.csv"
    table.parent.mkdir()
    table.write_text("file,label\na.png,round\n")
    with pytest.raises(DataError, match="'patient' is missing"):
        dataset.records(tmp_path)
    table.write_text("file,label,patient\na.png,square,p1\n")
    with pytest.raises(DataError, match=r"labels\.csv:2: the label 'square'"):
        dataset.records(tmp_path)
