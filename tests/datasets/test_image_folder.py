"""A user's own images: layouts, patients, and each mistake in one line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from archives import dataset, decoded, picture, write_folder, write_zip

from harness.data.decoded import DecodedDataset
from harness.errors import DataError, RequestError
from harness.plugins import discover
from harness.spec_loading import read_options

SIDES = ("Training", "val", "TEST")


def plain(*classes: str, images: int = 4) -> dict[str, bytes | str]:
    """CLASS/PATIENT/IMAGE, two images a patient; every picture is another one."""
    return {
        f"{name}/p{label}{number // 2}/{number}.png": picture(50 * label + number, "PNG")
        for label, name in enumerate(classes)
        for number in range(images)
    }


EXTRA: Mapping[str, str] = {"README.md": "x", "grade2/notes.txt": "x", ".DS_Store": "x", "__MACOSX/grade2/._0.png": "x"}


def read(root: Path, path: str, **options: object) -> DecodedDataset:
    return decoded("image_folder", root, root / "cache", path=path, **options)


def refused(root: Path, files: Mapping[str, bytes | str], **options: object) -> str:
    """The one line with which such a folder and such an archive are refused."""
    write_folder(root / "mine", files)
    write_zip(root / "mine.zip", files)
    lines = []
    for path in ("mine", "mine.zip"):
        with pytest.raises(DataError) as caught:
            read(root, path, **options)
        lines.append(str(caught.value).replace(str(root / path), "PLACE"))
    assert lines[0] == lines[1]
    assert "\n" not in lines[0]
    return lines[0]


@pytest.mark.parametrize("top", ["", "mine/"])
def test_folder_and_archive_are_read_alike(tmp_path: Path, top: str) -> None:
    files = plain("grade10", "grade2") | EXTRA
    write_folder(tmp_path / "mine", files)
    write_zip(tmp_path / "mine.zip", {f"{top}{name}": content for name, content in files.items()} | {"./": ""})
    data = read(tmp_path, "mine")
    assert data.fingerprint == read(tmp_path, "mine.zip").fingerprint
    assert data.classes == ("grade2", "grade10")
    assert data.case_ids[0] == "grade10/p00/0.png" and data.case_ids[-1] == "grade2/p11/3.png"
    assert data.labels.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert set(data.official) == {None} and len(set(data.groups)) == 8


def test_folders_of_sides_are_the_official_split(tmp_path: Path) -> None:
    files = {f"{side}/{name}": content for side in SIDES for name, content in plain("a", "b").items()}
    write_zip(tmp_path / "mine.zip", files | {"docs/readme.txt": "x"})
    data = read(tmp_path, "mine.zip")
    assert data.classes == ("a", "b")
    assert dict(zip(data.case_ids, data.official, strict=True)) == {
        name: dict(zip(SIDES, ("train", "val", "test"), strict=True))[name.split("/")[0]] for name in files
    }
    alone = {name: content for name, content in files.items() if name.startswith("TEST")}
    write_zip(tmp_path / "alone.zip", alone)
    assert read(tmp_path, "alone.zip").classes == ("a", "b"), "a side is no folder to pass over"


def test_order_and_choice_of_classes(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", plain("a", "b", "test"))
    data = read(tmp_path, "mine", classes=("test", "b"), ignore=("a",))
    assert data.classes == ("test", "b") == dataset("image_folder", path="mine", classes=("test", "b")).classes
    assert data.labels.tolist() == [1] * 4 + [0] * 4
    assert read(tmp_path, "mine", ignore=("test",)).classes == ("a", "b")


def test_a_pattern_names_the_patient_across_classes(tmp_path: Path) -> None:
    files = {f"{name}/x/P{n % 3}_{n}.png": picture(n + 20 * (name == "b"), "PNG") for name in "ab" for n in range(6)}
    write_folder(tmp_path / "mine", files)
    data = read(tmp_path, "mine", group_pattern=r"^x/(P\d+)_")
    assert data.records["group"].to_list() == [name.split("/")[2][:2] for name in sorted(files)]
    assert len(set(data.groups)) == 3
    line = refused(tmp_path, files, group_pattern=r"(P[01])_")
    assert re.search(r"PLACE: a/x/P2_2.png: group_pattern .* finds no patient in 'x/P2_2.png'; mend", line)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (plain("a", "b") | {"0.png": picture(1)}, {}, r"PLACE: 0.png: outside the class folders; expected CLASS/IMAGE"),
        (
            {f"train/{name}": content for name, content in plain("a").items()} | {"test/0.png": picture(1)},
            {},
            "test/0.png: outside the class folders; expected SIDE/CLASS/IMAGE",
        ),
        (plain("a", "train"), {}, "'a' stands beside 'train', which names a side"),
        (plain("a", "b", "bb"), {"classes": ("a", "bb")}, "unknown class folder 'b'; did you mean 'bb'"),
        (plain("a", "Benign"), {"classes": ("a", "Benign", "malign")}, "no folder of class 'malign', which `classes`"),
        (plain("a", "b") | {"c/0.dcm": "x"}, {}, "class folder 'c' holds no image (.bmp, .jpeg, "),
        (plain("a", "b"), {"ignore": ("c",)}, "no folder 'c', which `ignore` lists"),
        ({"a/0.dcm": "x", "b/0.dcm": "x"}, {}, "PLACE: no image in a class folder; expected CLASS/IMAGE or SIDE/"),
        ({}, {}, "no image in a class folder"),
    ],
)
def test_other_layouts_are_one_line(
    tmp_path: Path, files: dict[str, bytes | str], options: dict[str, object], message: str
) -> None:
    (tmp_path / "mine").mkdir()
    assert message in refused(tmp_path, files, **options)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", plain("a", "b"))
    (tmp_path / "mine" / "c").mkdir()
    with pytest.raises(DataError, match=r"class folder 'c' holds no image .* list it under `ignore`"):
        read(tmp_path, "mine")


@pytest.mark.parametrize(
    ("given", "key", "message"),
    [
        ({}, "path", "missing"),
        ({"path": "../mine"}, "path", "leaves the data root"),
        ({"path": "a\\..\\..\\mine"}, "path", "leaves the data root"),
        ({"path": "/mine"}, "path", "leaves the data root"),
        ({"path": "C:/mine"}, "path", "leaves the data root"),
        ({"path": "~/mine"}, "path", "leaves the data root"),
        ({"path": "."}, "path", "needs the name of a folder"),
        ({"path": "m", "group_pattern": "(P"}, "group_pattern", "is no regular expression (missing )"),
        ({"path": "m", "group_pattern": "P[0-9]+"}, "group_pattern", "needs one group in parentheses"),
        ({"path": "m", "group_pattern": "(P)(0)"}, "group_pattern", "it has 2"),
        ({"path": "m", "classes": ["a", "a"]}, "classes", "at least two different class folders"),
        ({"path": "m", "classs": ["a", "b"]}, "classs", "classes"),
    ],
)
def test_senseless_options_are_refused_before_anything_is_read(
    given: dict[str, object], key: str, message: str
) -> None:
    cls = discover().dataset("image_folder", "test").cls
    with pytest.raises(RequestError) as caught:
        read_options(cls, given, lambda *keys: ".".join(map(str, keys)))
    assert str(caught.value).startswith(f"{key}: ") and message in str(caught.value)


def test_links_stay_below_the_data_root(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_folder(root / "mine", plain("a", "b"))
    write_folder(tmp_path / "elsewhere", {"secret.png": picture(9, "PNG")})
    before = read(root, "mine")
    (root / "link").symlink_to("mine")
    assert read(root, "link").fingerprint == before.fingerprint, "a link inside the root is as good as a folder"
    (root / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"out: leads to .*elsewhere, outside the data root"):
        read(root, "out")
    image = root / "mine" / "a" / "linked.png"
    image.symlink_to(tmp_path / "elsewhere" / "secret.png")
    with pytest.raises(DataError, match=r"linked.png: leads to .*secret.png, outside the data root"):
        read(root, "mine")
    image.unlink()
    (root / "mine" / "c").symlink_to("a")
    with pytest.raises(DataError, match="mine/c: a link to a folder, which is not followed"):
        dataset("image_folder", path="mine").records(root)


def test_a_name_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", plain("a", "b"))
    try:
        (tmp_path / "mine" / "a" / os.fsdecode(b"gr\xfcn.png")).write_bytes(picture(9))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match=r"mine/a: the name 'gr\\udcfcn.png' is not UTF-8; rename it"):
        dataset("image_folder", path="mine").records(tmp_path)


def test_a_changed_folder_is_decoded_anew(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", plain("a", "b"))
    before = read(tmp_path, "mine")
    write_folder(tmp_path / "mine", {"a/new.png": picture(77, "PNG")})
    after = read(tmp_path, "mine")
    assert len(after.case_ids) == len(before.case_ids) + 1 and after.fingerprint != before.fingerprint


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset image_folder: mine not found in .*--data-root"):
        read(tmp_path, "mine")
