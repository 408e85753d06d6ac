"""A skeleton passes its checks as it is written, and never takes the place of a file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.check_methods import main as check_methods
from harness.data.__main__ import main as data
from harness.new.__main__ import main as new
from harness.sweep.__main__ import main as sweep


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_method_keeps_what_methods_promise(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(["method", "my_idea"]) == 0
    written = capsys.readouterr()
    assert written.out.strip() == "my_plugins/my_idea.py" and "--method my_idea" in written.err
    assert check_methods(["--plugins", "my_plugins", "--method", "my_idea"]) == 0
    assert "my_idea: kept" in capsys.readouterr().out


def test_a_dataset_reads_its_table_and_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(["dataset", "my_images"]) == 0
    folder = here / "data" / "my_images"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "patient"])
        for place in range(40):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{place}.png")
            table.writerow([f"{place}.png", "positive" if place % 2 else "negative", f"p{place // 2}"])
    capsys.readouterr()
    assert data(["my_images", "--plugins", "my_plugins", "--data-root", "data", "--size", "16"]) == 0
    card = capsys.readouterr().out
    assert "40" in card and "positive" in card


def test_a_sweep_can_be_planned(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(["sweep", "first"]) == 0
    assert sweep(["sweeps/first.yaml", "--dry-run"]) == 0
    assert "30 trials" in capsys.readouterr().out


def test_a_sweep_finds_the_method_that_was_begun_beside_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(["method", "my_idea"]) == new(["sweep", "first"]) == new(["sweep", "here", "--into", "."]) == 0
    for file in (here / "sweeps" / "first.yaml", here / "here.yaml"):
        text = file.read_text().replace("# plugins:", "plugins:").replace("bn_affine", "my_idea")
        file.write_text(text)
        assert sweep([str(file), "--dry-run"]) == 0
        assert "my_idea@digits" in capsys.readouterr().out


def test_a_path_for_a_name_is_answered_with_the_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(["method", "my_plugins/Soft-Bias.py"]) == 2
    assert "did you mean soft_bias? --into says where" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Bad", "a-b", "1st", "class", ""])
def test_a_name_that_cannot_be_is_refused(here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(["method", name]) == 2
    assert "a name has small letters" in capsys.readouterr().err and not (here / "my_plugins").exists()


def test_what_is_there_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "my_plugins").mkdir()
    (here / "my_plugins" / "kept.py").write_text("years of work")
    assert new(["method", "kept"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (here / "my_plugins" / "kept.py").read_text() == "years of work"
