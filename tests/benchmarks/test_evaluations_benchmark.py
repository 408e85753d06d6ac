"""The benchmark of evaluations measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import environment

from benchmarks.evaluations import main


def test_it_measures_every_corruption_beside_the_test_side(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(shared_cache).items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "out.json"
    words = ["--dataset", "digits", "--network", "resnet20", "--image-size", "8", "--images", "16", "--rounds", "1"]
    # On a busy machine and for so few images the ratio says nothing.
    assert main([*words, "--out", str(out)]) in (0, 1)
    found = json.loads(out.read_text())
    assert (found["sets"], found["images"]) == (75, 16) and len(found["rounds"]) == 1
    assert all(found["rounds"][0][name] > 0 for name in ("test_pass", "evaluation", "making", "ratio"))
    assert "75 sets of 16 images of 8 pixels" in capsys.readouterr().out
