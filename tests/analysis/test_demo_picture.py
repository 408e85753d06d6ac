"""The picture at the head of README.md is one of today's demo, made by a command that works."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from analysis.report import write_report

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder

ROOT = Path(__file__).parent.parent.parent
REMEDY = "say `make demo && python docs/picture.py runs/demo`"


@pytest.fixture(scope="module")
def command() -> ModuleType:
    spec = importlib.util.spec_from_file_location("picture", ROOT / "docs" / "picture.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(builder: Callable[..., RunBuilder]) -> Path:
    """A report of two methods, with whatever a report has at its head."""
    made = builder(["bn_affine", "gpaf"], ["alpha"])
    for method, level in (("bn_affine", 0.0), ("gpaf", 0.02)):
        study = made.study(method, "alpha")
        made.searched(study, [0.8, 0.81, 0.79])
        made.choose(study, 1, 0.81)
        made.confirmed(study, {seed: value + level for seed, value in made.known_seeds.items()})
    return write_report(made.run).html


def test_the_picture_is_of_todays_demo_and_todays_report(command: ModuleType, page: Path) -> None:
    with Image.open(command.PICTURE) as shown:
        says = shown.text  # type: ignore[attr-defined]
        assert shown.width == command.WIDTH and 1000 < shown.height <= command.MOST_HEIGHT
    assert says["sweep"] == hashlib.sha256((ROOT / "sweeps" / "demo.yaml").read_bytes()).hexdigest(), REMEDY
    known = command.headings(page.read_text())
    assert len(known) > 3
    assert json.loads(says["headings"]) == known, REMEDY


def test_the_command_makes_it(
    command: ModuleType, page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "picture.png"
    if command.browser() is None:
        pytest.skip("there is no Chromium here, so no picture can be made")
    assert command.main([str(page.parent.parent), "--out", str(out)]) == 0
    assert "900 ×" in capsys.readouterr().out
    with Image.open(out) as shown:
        assert json.loads(shown.text["headings"]) == command.headings(page.read_text())  # type: ignore[attr-defined]
        last = [shown.convert("RGB").getpixel((column, shown.height - 1)) for column in range(shown.width)]
    assert len(set(last)) == 1, "it ends between two parts of the page"
    assert command.main([str(tmp_path), "--out", str(out)]) == 2
    assert "report.html cannot be shown" in capsys.readouterr().err
