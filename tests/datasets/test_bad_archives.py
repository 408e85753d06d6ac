"""Damaged, malicious and unsuitable archives: each is refused in one line that names the place and the remedy."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import decoded, picture, refused, write_zip
from home import one_error
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import DataError
from harness.data.zip_members import list_members, read_table
from harness.trial import main as trial

BRAIN = "brain-tumor-mri-dataset.zip"
INPUT, TRUTH, LESIONS = (
    f"ISIC2018_Task3_Training_{part}" for part in ("Input.zip", "GroundTruth.zip", "LesionGroupings.csv")
)
DIAGNOSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


def brain(root: Path) -> Path:
    """A small archive of Brain MRI's layout."""
    names = [f"{side}/{name}/0.jpg" for side in ("Training", "Testing") for name in ("glioma", "meningioma")]
    names += [f"Training/{name}/0.jpg" for name in ("notumor", "pituitary")]
    return write_zip(root / BRAIN, {name: picture(40 * number) for number, name in enumerate(names)})


def isic(root: Path) -> None:
    """Small archives of ISIC's layout: an image for each diagnosis."""
    cases = [f"ISIC_{number:07d}" for number in range(len(DIAGNOSES))]
    write_zip(root / INPUT, {f"Input/{case}.jpg": picture(30 * number) for number, case in enumerate(cases)})
    rows = [",".join([case, *(f"{float(case == other)}" for other in cases)]) for case in cases]
    write_zip(root / TRUTH, {"Truth/Truth.csv": "\n".join([",".join(["image", *DIAGNOSES]), *rows]) + "\n"})
    lesions = [f"{case},HAM_{number // 2},histopathology" for number, case in enumerate(cases)]
    (root / LESIONS).write_text("\n".join(["image,lesion_id,diagnosis_confirm_type", *lesions]) + "\n")


def replace(place: Path, old: str, new: str) -> None:
    """Replace text in a CSV file or in the only member of an archive."""
    member, text = None, ""
    if place.suffix == ".zip":
        with zipfile.ZipFile(place) as archive:
            (member,) = archive.namelist()
            text = archive.read(member).decode()
    else:
        text = place.read_text()
    assert text.count(old) == 1
    text = text.replace(old, new)
    if member is None:
        place.write_text(text)
    else:
        write_zip(place, {member: text})


def test_the_small_archives_are_read_before_they_are_damaged(tmp_path: Path) -> None:
    brain(tmp_path)
    isic(tmp_path)
    assert decoded("brain_mri", tmp_path, tmp_path / "cache").labels.tolist() == [0, 1, 0, 1, 2, 3]
    data = decoded("isic2018", tmp_path, tmp_path / "cache")
    assert data.labels.tolist() == [*range(7)]
    assert data.records["group"].to_list() == [f"HAM_{number // 2}" for number in range(7)]


# Tables and images that do not belong together

SEPARATED: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "column missing": (TRUTH, "NV", "NVS", ("Truth/Truth.csv: no column 'NV'", "did you mean 'NVS'", "get it again")),
    "column of lesions missing": (LESIONS, "lesion_id", "lesion", ("no column 'lesion_id'; it has image, lesion",)),
    "column twice": (TRUTH, "NV", "MEL", ("column 'MEL' occurs twice",)),
    "cells missing": (LESIONS, "ISIC_0000001,HAM_0,histopathology", "ISIC_0000001", ("line 3: 1 cells where 3",)),
    "label without image": (TRUTH, "\nISIC_0000003", "\nISIC_9,1,0,0,0,0,0,0\nISIC_0000003", ("ISIC_9: without an",)),
    "image without label": (TRUTH, "ISIC_0000000,1.0,0.0,0.0,0.0,0.0,0.0,0.0\n", "", ("ISIC_0000000: without a l",)),
    "image without lesion": (LESIONS, "ISIC_0000002,HAM_1,histopathology\n", "", ("ISIC_0000002: without a lesion",)),
    "no diagnosis": (TRUTH, "0000,1.0", "0000,0.0", ("ISIC_0000000: one diagnosis is expected, found none",)),
    "two diagnoses": (TRUTH, "0000,1.0,0.0", "0000,1,1", ("ISIC_0000000: one diagnosis", "found MEL and NV")),
    "neither 0 nor 1": (TRUTH, "0000,1.0", "0000,0.7", ("ISIC_0000000: MEL is '0.7', neither 0 nor 1",)),
    "no number": (TRUTH, "0000,1.0", "0000,yes", ("ISIC_0000000: MEL is 'yes', neither 0 nor 1",)),
    "row twice": (LESIONS, "\nISIC_0000001", "\nISIC_0000000,HAM_9,x\nISIC_0000001", ("ISIC_0000000: occurs in two",)),
    "label twice": (TRUTH, "ISIC_0000001", "ISIC_0000000", ("Truth.zip: ISIC_0000000: occurs in two rows",)),
    "lesion empty": (LESIONS, "1,HAM_0", "1,", ("ISIC_0000001: its lesion_id is empty",)),
}


@pytest.mark.parametrize("kind", SEPARATED)
def test_labels_and_images_that_do_not_belong_together(kind: str, tmp_path: Path) -> None:
    isic(tmp_path)
    file, old, new, words = SEPARATED[kind]
    replace(tmp_path / file, old, new)
    line = refused("isic2018", tmp_path)
    assert "again from https://challenge.isic-archive.com" in line
    for word in words:
        assert word in line


def test_an_image_under_two_endings_is_ambiguous(tmp_path: Path) -> None:
    isic(tmp_path)
    with zipfile.ZipFile(tmp_path / INPUT, "a") as archive:
        archive.writestr("Input/ISIC_0000000.png", picture(1, "PNG"))
    assert "ISIC_0000000.png are two images of one name" in refused("isic2018", tmp_path)


def test_tables_that_are_no_tables(tmp_path: Path) -> None:
    place = tmp_path / "labels.zip"
    for members, message in (
        ({"a.csv": "x", "b.csv": "x"}, "2 CSV files where one is expected; write it again"),
        ({"__MACOSX/a.csv": "x"}, "0 CSV files"),
        ({"a.csv": b"image\xff,b\n"}, "a.csv: not a CSV file in UTF-8"),
        ({"a.csv": ""}, "a.csv: no column 'image'; it is empty"),
    ):
        write_zip(place, members)
        with pytest.raises(DataError, match=message):
            read_table(place, ("image",), None)
    write_zip(place, {"a.csv": "\ufefflabel,image\r\n\r\n1,'b \"c\r\n"})
    assert read_table(place, ("image",), None) == [{"image": "'b \"c"}]


# Damaged and malicious zip archives


def cut(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-60])


def corrupt(archive: Path) -> None:
    """Change a byte of the first member's content, so that its checksum no longer fits."""
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        first = opened.infolist()[0]
    content[first.header_offset + 30 + len(first.filename) + first.file_size // 2] ^= 0xFF
    archive.write_bytes(content)


def encrypt(archive: Path) -> None:
    """Mark the first member as encrypted, in its header and in the directory."""
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)


def adding(name: str) -> Callable[[Path], None]:
    def add(archive: Path) -> None:
        with zipfile.ZipFile(archive, "a") as opened:
            opened.writestr(name, picture(200))

    return add


def without_a_class(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        kept = {name: opened.read(name) for name in opened.namelist() if "notumor" not in name}
    write_zip(archive, kept)


DAMAGED: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "truncated": (cut, (f"{BRAIN}: truncated or no zip archive", "get it again from https://www.kaggle.com")),
    "empty": (lambda archive: archive.write_bytes(b""), ("truncated or no zip archive",)),
    "a folder": (lambda archive: (archive.unlink(), archive.mkdir())[1], ("a folder where the zip archive itself",)),
    "missing": (Path.unlink, (f"{BRAIN} not found in", "--download", "--data-root or GPAF_BENCH_DATA")),
    "wrong checksum": (corrupt, ("Training/glioma/0.jpg: cannot be read (Bad CRC-32", "get the archive again")),
    "encrypted": (encrypt, ("Training/glioma/0.jpg: encrypted; pack the archive without a password",)),
    "leaves upwards": (adding("Training/glioma/../../../9.jpg"), ("'Training/glioma/../../../9.jpg': a path that",)),
    "absolute": (adding("/etc/9.jpg"), ("'/etc/9.jpg': a path that leaves the archive",)),
    "drive": (adding("C:/Training/glioma/9.jpg"), ("'C:/Training/glioma/9.jpg': a path that leaves",)),
    "backslashes": (adding("Training\\glioma\\9.jpg"), ("a path that leaves the archive or has backslashes",)),
    "twice": (adding("Training/./glioma/0.jpg"), ("Training/./glioma/0.jpg: occurs twice in the archive",)),
    "unknown class": (adding("Training/Glioma/9.jpg"), ("unknown class folder 'Glioma'; did you mean 'glioma'",)),
    "no image of a class": (without_a_class, ("no image of class 'notumor'", "get the archive again")),
    "no image": (lambda archive: write_zip(archive, {"README": "x"}).touch(), ("holds no image",)),
    "no picture": (
        lambda archive: write_zip(archive, dict.fromkeys(zipfile.ZipFile(archive).namelist(), b"text")).touch(),
        (
            "6 of 6 images cannot be read: Testing/glioma/0.jpg: not an image in any of the formats BMP, GIF, JPEG",
            "; and 3 more, all listed in ",
        ),
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_archives(kind: str, tmp_path: Path) -> None:
    damage, words = DAMAGED[kind]
    damage(brain(tmp_path))
    line = refused("brain_mri", tmp_path)
    for word in words:
        assert word in line


@pytest.mark.parametrize("kind", ["truncated", "wrong checksum", "leaves upwards", "unknown class"])
def test_the_command_says_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    damage, words = DAMAGED[kind]
    damage(brain(tmp_path))
    arguments = ["--method", "linear_probe", "--dataset", "brain_mri", "--data-root", str(tmp_path)]
    code = trial([*arguments, "--set", "train.image_size=32"])
    one_error(code, capsys.readouterr().err, *words)
    assert not (tmp_path / "runs").exists()


def test_the_command_names_a_wrong_option(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--method", "linear_probe", "--dataset", "image_folder"]
    code = trial([*arguments, "--set", "datasets.image_folder.path=../mine"])
    one_error(code, capsys.readouterr().err, "--set datasets.image_folder.path: '../mine' leaves the data root")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("ab.:/\\ C", min_size=1, max_size=8), max_size=4))
def test_members_are_refused_or_lie_inside_and_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(zipfile.ZipInfo(name), str(number))
    try:
        members = list_members(folder / "a.zip", None)
    except DataError:
        suspect = any(name.startswith("/") or any(part in name for part in ("..", "\\", ":")) for name in names)
        assert suspect or len({posixpath.normpath(name) for name in names}) < len(names)
        return
    assert len({member.path for member in members if not member.is_folder}) <= len(names)
    for member in members:
        inside = Path(folder, member.path).resolve()
        assert inside.is_relative_to(folder) and inside != folder
        assert member.is_folder or member.image.load() == str(names.index(member.name)).encode()
