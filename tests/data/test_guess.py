"""``python -m harness.data PATH --guess``: what it prints can be pasted into a sweep and trained; nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from home import one_error
from PIL import Image
from tiny import run_inline, tiny_sweep

from harness.data.__main__ import main

CLASSES = ("melanoma", "naevus", "other")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(shared_cache))
    monkeypatch.setenv("GPAF_BENCH_DATA", str(tmp_path / "none"))
    return tmp_path


def image(path: Path, seed: int, size: tuple[int, int] = (8, 8)) -> Path:
    """A noisy image whose brightness tells its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 80, (*size[::-1], 3)) + 80 * (seed % 3)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def table(root: Path, count: int = 300) -> Path:
    """A folder with a table and its images, three a patient."""
    lines = ["image_id,diagnosis,patient_id,age,Body Site,comment"]
    for n in range(count):
        image(root / "skin" / "images" / f"s{n:03d}.png", n)
        site = "" if n == 0 else ("back", "face")[n % 2]
        lines.append(f"s{n:03d},{CLASSES[n % 3]},p{n // 3:03d},{30 + n % 40},{site},note {n}")
    (root / "skin" / "labels.csv").write_text("\n".join(lines) + "\n")
    return root / "skin"


def guessed(
    capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0
) -> tuple[list[str], str, dict[str, Any]]:
    """The comments, the label and the entry that are printed."""
    assert main([*arguments, "--guess"]) == expect
    printed = capsys.readouterr().out
    remarks = [line for line in printed.splitlines() if line.startswith("#")]
    ((label, entry),) = yaml.safe_load(printed)["datasets"][0].items()
    return remarks, label, entry


def contents(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_table_is_guessed_pasted_and_trained(
    place: Path, capsys: pytest.CaptureFixture[str], shared_cache: Path
) -> None:
    table(place)
    before = contents(place)
    remarks, label, entry = guessed(capsys, "skin")
    assert contents(place) == before, "a guess writes nothing"
    assert (label, entry) == (
        "skin",
        {
            "dataset": "image_table", "table": "skin/labels.csv", "images": "skin/images", "file": "image_id",
            "patient": "patient_id", "label": "diagnosis", "metadata": {"age": "number", "Body Site": "category"},
        },
    )  # fmt: skip
    assert remarks[0] == "# 300 images, 3 classes (melanoma 100, naevus 100, other 100), 100 patients or groups"
    assert f"# give every command: --data-root {place}" in remarks
    sweep = tiny_sweep(
        place,
        datasets=[{label: entry}],
        methods=["linear_probe"],
        train={"epochs": 1, "batch_size": 64, "image_size": 8},
        search={"trials": 1},
        confirm={"seeds": 1},
    )
    done = run_inline(sweep, place / "run", shared_cache, "--data-root", str(place), report=False)
    assert "error" not in done.stderr
    results = list((place / "run").rglob("result.json"))
    assert len(results) == 2 and all('"done"' in path.read_text() for path in results)


def test_a_folder_is_guessed_with_what_is_odd(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(60):
        name = CLASSES[n % 3] if n < 6 else CLASSES[n % 2]
        image(place / "moles" / name / f"P{n // 4:02d}_{n}.png", n, (8, 8 + (n == 7)))
    image(place / "moles" / CLASSES[0] / "P00_0_mask.png", 900)
    copy = (place / "moles" / CLASSES[0] / "P00_0.png").read_bytes()
    (place / "moles" / CLASSES[1] / "P14_99.png").write_bytes(copy)
    remarks, label, entry = guessed(capsys, str(place / "moles"))
    assert (label, entry) == ("moles", {
        "dataset": "image_folder", "path": "moles", "exclude": ["*_mask*"], "group_pattern": "^([A-Za-z]*[0-9]+)[_-]",
    })  # fmt: skip
    said = "\n".join(remarks)
    for words in (
        "1 images are by name masks or thumbnails of others and are left out",
        "may be patient ids: 15 for 61 images",
        "classes of fewer than 20 images: other 2",
        "2 sizes of images: 8 × 8 (60), 8 × 9 (1)",
        "2 images in 1 sets of identical ones, such as melanoma/P00_0.png and naevus/P14_99.png",
        "1 of these sets bear different labels",
    ):
        assert words in said, said
    (place / "moles" / CLASSES[0] / "P00_torn.png").write_bytes(copy[:60])
    remarks, _, _ = guessed(capsys, "moles", expect=1)
    assert any("cannot be used yet: melanoma/P00_torn.png: not a" in line for line in remarks)


def test_columns_of_0_and_1_and_several_labels_a_cell(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(place, 30)
    flags = ["file,edema,mass"] + [f"s{n:03d},{n % 2},{1 - n % 2}" for n in range(30)]
    (place / "skin" / "labels.csv").write_text("\n".join(flags))
    _, _, entry = guessed(capsys, "skin")
    assert entry["label"] == ["edema", "mass"] and entry["exclusive"] is True
    cells = ["file;finding"] + [f"s{n:03d};{('edema', 'mass', 'edema|mass')[n % 3]}" for n in range(30)]
    (place / "skin" / "labels.csv").write_text("\n".join(cells))
    remarks, _, entry = guessed(capsys, "skin/labels.csv")
    assert entry["separator"] == "|" and entry["images"] == "images"
    assert remarks[0] == "# 30 images, 2 classes (edema 20, mass 20), several labels an image"
    spelled = ["file,finding"] + [f"s{n:03d},{('Edema', 'edema', 'mass')[n % 3]}" for n in range(30)]
    (place / "skin" / "labels.csv").write_text("\n".join(spelled))
    _, _, entry = guessed(capsys, "skin")
    assert entry["map"] == {"Edema": "Edema", "edema": "Edema", "mass": "mass"}


def test_dicom_files_are_guessed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = pytest.importorskip("dicom_files")
    for n in range(24):
        path = place / "ct" / "ab"[n % 2] / f"{n}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files.dicom(files.noise(n), 12, PatientID=str(n // 4), WindowCenter=9, WindowWidth=90))
    remarks, _, entry = guessed(capsys, "ct")
    assert entry == {"dataset": "image_folder", "path": "ct", "dicom": {}}
    assert remarks[0].endswith("6 patients or groups") and "# look at: patients are those of the DICOM files" in remarks
    for path in (place / "ct").rglob("*.dcm"):
        path.write_bytes(files.dicom(files.noise(int(path.stem)), 12, PatientID="ANON"))
    remarks, _, entry = guessed(capsys, "ct", expect=1)
    assert entry["dicom"] == {"patients": False}
    assert any("no window of its own; state one: `window: [low, high]`" in line for line in remarks)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits"], "no such folder or file; --guess takes a path, not the name of a dataset"),
        (["empty"], "neither images nor a table of images"),
        (["flat"], "outside the class folders; expected CLASS/IMAGE"),
        (["lost.csv"], "lost.csv: no column names image files in a folder or zip archive beside the table"),
        (["flat", "--audit"], "--audit: has no effect with --guess"),
        (["flat", "--set", "a=1"], "--set: has no effect with --guess"),
        (["flat", "--data-root", "empty"], "not below the data root"),
        (["volumes"], "volumes/a/x.nii is a volume, and volumes are not read"),
    ],
)
def test_what_cannot_be_guessed_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (place / "empty").mkdir()
    image(place / "flat" / "0.png", 0)
    (place / "lost.csv").write_text("file,label\na.png,x\nb.png,y\n")
    (place / "volumes" / "a").mkdir(parents=True)
    (place / "volumes" / "a" / "x.nii").write_bytes(b"x")
    code = main([*arguments, "--guess"])
    line = one_error(code, capsys.readouterr().err).replace("volumes: a/x.nii", "volumes/a/x.nii")
    assert message in line, line
