"""A split that gives test images away stops a sweep before anything trains, unless the file says why it may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import run_inline, tiny_sweep

PLUGIN = '''"""Noise in two classes, where every patient has two images and some images come twice."""

import numpy as np

from harness.dataset import ArrayImage, Dataset, Record


class Twins(Dataset):
    """Sixty patients with two images each; ten further images are copies. Licence: CC0 1.0."""

    name, title, modality, licence, citation = "twins", "Twins", "noise", "CC0 1.0", "none"
    classes, files = ("dark", "light"), ()

    def records(self, root):
        rng = np.random.default_rng(0)
        found = []
        for number in range(120):
            label = number // 2 % 2
            image = (rng.integers(0, 100, (8, 8)) + 120 * label).astype(np.uint8)
            side = "test" if number % 3 == 0 else "train"
            found.append(Record(f"c{number:03d}", label, ArrayImage(image), group=f"p{number // 2}", official=side))
        copies = [Record(f"copy{i}", r.label, r.image, official="test") for i, r in enumerate(found[1:30:3])]
        return found + copies
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "twins.py").write_text(PLUGIN)
    return tiny_sweep(
        tmp_path,
        plugins=["plugins"],
        datasets=["twins"],
        methods=["linear_probe"],
        train={"epochs": 1, "batch_size": 16, "image_size": 8},
        search={"trials": 1},
        confirm={"seeds": 2},
    )


@pytest.mark.parametrize("kind", ["official", "random"])
def test_a_leaking_split_is_refused_with_its_numbers(kind: str, file: Path, tmp_path: Path) -> None:
    done = run_inline(file, tmp_path / "run", tmp_path / "cache", "--set", f"split.kind={kind}", expect=2)
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for words in (f"datasets.twins: the {kind} split leaks", "patients or lesions stand", "allow_leakage", "grouped"):
        assert words in error
    if kind == "official":
        assert "10 groups of identical images" in error
        assert "10 of the 50 test images have an exact copy" in error
    assert not list((tmp_path / "run").rglob("trial.json"))


def test_the_reason_and_the_numbers_are_in_the_report(file: Path, tmp_path: Path) -> None:
    reason = "to repeat the protocol of <an older> paper"
    options = ("--set", "split.kind=official", "--set", f"split.allow_leakage={reason}")
    run_inline(file, tmp_path / "run", tmp_path / "cache", *options)
    report = tmp_path / "run" / "report"
    for text in (
        (report / "report.html").read_text().replace("&lt;", "<").replace("&gt;", ">"),
        (report / "report.md").read_text().replace("&lt;", "<").replace("&gt;", ">"),
        "\n".join(json.loads((report / "results.json").read_text())["flags"]),
    ):
        assert reason in text
        assert "10 of the 50 test images have an exact copy" in text


def test_a_grouped_split_needs_no_reason(file: Path, tmp_path: Path) -> None:
    run_inline(file, tmp_path / "run", tmp_path / "cache")
    flags = json.loads((tmp_path / "run" / "report" / "results.json").read_text())["flags"]
    assert not any("leak" in flag for flag in flags)
