"""A user's own images: layouts, patients, and each mistake in one line."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest
from archives import dataset, decoded, encoded, picture, write_folder, write_zip
from PIL import Image

from harness.core.errors import DataError, RequestError
from harness.data.decoded import DecodedDataset
from harness.data.options import read_options
from harness.dataset import Dataset
from harness.plugins import discover

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
    assert re.search(r"PLACE: a/x/P2_2.png: group_pattern .* finds no patient in 'x/P2_2.png'; fix", line)


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
        (plain("a", "b") | {"c/0.dcm": "x"}, {}, "class folder 'c' holds no image (.bmp, .gif, "),
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
        ({"path": "m", "exclude": ["*"]}, "exclude", "would leave everything out"),
        ({"path": "m", "masks": "drop"}, "masks", "keep"),
        ({"path": "m", "max_megapixels": 0}, "max_megapixels", "must be above 0"),
        ({"path": "m", "classs": ["a", "b"]}, "classs", "classes"),
    ],
)
def test_senseless_options_are_refused_before_anything_is_read(
    given: dict[str, object], key: str, message: str
) -> None:
    cls = discover().find(Dataset, "image_folder", "test").cls
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


# Layouts that are not plainly CLASS/IMAGE, each refused with what was probably meant


def below(folder: str, files: Mapping[str, bytes | str]) -> dict[str, bytes | str]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def test_a_nested_folder_is_no_class(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", below("inner", plain("benign", "malignant")))
    with pytest.raises(DataError) as caught:
        read(tmp_path, "mine")
    line = str(caught.value)
    assert "only one class folder, 'inner'; at least two are needed" in line
    assert "'inner' holds the folders 'benign', 'malignant': if these are the classes, write `path: mine/inner`" in line
    assert read(tmp_path, "mine/inner").classes == ("benign", "malignant")
    write_folder(tmp_path / "sides", below("inner", below("train", plain("a", "b")) | below("test", plain("a", "b"))))
    with pytest.raises(DataError, match=r"holds the folders 'test', 'train': if .* write `path: sides/inner`"):
        read(tmp_path, "sides")
    write_zip(tmp_path / "twice.zip", below("outer/inner", plain("benign", "malignant")))
    with pytest.raises(DataError, match=r"only one class folder, 'inner'.* pack the archive with at most one folder"):
        read(tmp_path, "twice.zip")
    write_zip(tmp_path / "once.zip", below("outer", plain("benign", "malignant")))
    assert read(tmp_path, "once.zip").classes == ("benign", "malignant")


LESIONS = plain("benign", "malignant")
BUSI: dict[str, bytes | str] = {
    f"{name}/{name} ({n}){part}.png": picture(50 * (name == "benign") + 10 * n + len(part), "PNG")
    for name in ("benign", "malignant")
    for n in (1, 2)
    for part in ("", "_mask", "_mask_1")
}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"only/0.png": picture(1)}, "only one class folder, 'only'; at least two are needed"),
        (below("images", LESIONS) | below("masks", LESIONS), "class folder 'images': its name says a kind of file"),
        (
            below("Train_Set", LESIONS) | below("Test_Set", LESIONS),
            "class folder 'Test_Set': its name says a part of a",
        ),
        (below("fold1", LESIONS) | below("fold2", LESIONS), "class folder 'fold1': its name says a part of a study"),
        (
            {f"{c}/{side}/{c}{n}.png": picture(n) for c in "ab" for side in ("train", "test") for n in range(2)},
            "class folder 'a' holds 'test', 'train', which name sides of the split; put the class folders below these",
        ),
        (
            below("data", LESIONS) | {"examples/0.png": picture(1)},
            "folder 'data' holds the folders 'benign', 'malignant', but 'examples' holds images; expected CLASS/IMAGE",
        ),
        (
            below("site1", LESIONS) | below("site2", LESIONS),
            "folder 'site1' holds the folders 'benign', 'malignant', and so does every other one: these may be the cl",
        ),
        (plain("Benign", "benign", "x"), "class folders 'Benign' and 'benign' differ only in case, spaces or Unicode"),
        (plain("grade 1", "grade_1"), "class folders 'grade 1' and 'grade_1' differ only in case, spaces"),
        (
            plain(*(unicodedata.normalize(form, "größe") for form in ("NFC", "NFD"))),
            r"differ only in case, spaces or Unicode form; make them one folder",
        ),
        (
            below("train", plain("Benign", "x")) | below("test", plain("benign", "x")),
            "class folders 'Benign' and 'benign' differ only in case",
        ),
        (BUSI, "8 of 12 images are by name a mask or thumbnail of another image, such as 'benign/benign (1)_mask.png'"),
        (
            {
                f"{c}/{kind}/{n}.png": picture(n)
                for c in ("COVID", "Normal")
                for kind in ("images", "masks")
                for n in "12"
            },
            "4 of 8 images are by name a mask or thumbnail of another image, such as 'COVID/masks/1.png'; leave them "
            "out with `exclude: ['masks']`",
        ),
    ],
)
def test_other_meanings_are_seen(tmp_path: Path, files: dict[str, bytes | str], message: str) -> None:
    assert message in refused(tmp_path, files)


def test_who_lists_the_classes_knows_what_the_folders_are(tmp_path: Path) -> None:
    for name, files, classes in (
        ("sites", below("site1", LESIONS) | below("site2", plain("a", "b")), ("site1", "site2")),
        ("kinds", plain("image", "mask"), ("image", "mask")),
        ("uneven", below("data", LESIONS) | {"examples/0.png": picture(201, "PNG")}, ("examples", "data")),
    ):
        write_folder(tmp_path / name, files)
        assert read(tmp_path, name, classes=classes).classes == classes
    # With the same patients in each class.
    patients = {f"{c}/P{n}/0.png": picture(100 * (c == "a") + n, "PNG") for c in "ab" for n in range(3)}
    write_folder(tmp_path / "patients", patients)
    assert len(set(read(tmp_path, "patients", group_pattern=r"^(P\d)/").groups)) == 3


@pytest.mark.parametrize("pattern", ["*_mask*", "*[)]_mask*.png", "*/*_mask*"])
def test_excluded_masks_are_counted(tmp_path: Path, pattern: str) -> None:
    write_folder(tmp_path / "mine", BUSI)
    write_zip(tmp_path / "mine.zip", BUSI)
    for path in ("mine", "mine.zip"):
        data = read(tmp_path, path, exclude=(pattern,))
        assert len(data.labels) == 4 and not any("mask" in case for case in data.case_ids)
        assert data.left_out == {"files that `exclude` names": 8}
    assert len(read(tmp_path, "mine", masks="keep").labels) == 12
    with pytest.raises(DataError, match=r"8 of 12|4 of 8"):
        read(tmp_path, "mine", exclude=("*_mask.png", "@eaDir"))
    with pytest.raises(DataError, match=r"`exclude` lists '\*_msk\*', which is the name of no file or folder"):
        read(tmp_path, "mine", exclude=("*_msk*",))


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    files = LESIONS | {
        "@eaDir/benign/0.png": "x", "benign/@eaDir/0.png@SYNOPHOTO_THUMB_M.png": picture(7), "Thumbs.db": "x",
        "benign/.hidden.png": "x", "__MACOSX/benign/._0.png": "x", "benign/Thumbs.db": "x", "#recycle/0.png": "x",
        "benign/report.PDF": "x", "benign/scan.dcm": "x", "malignant/scan.dcm": "x", "LICENSE": "x",
        "ignored/0.png": picture(8), "ignored/1.txt": "x",
    }  # fmt: skip
    write_folder(tmp_path / "mine", files)
    write_zip(tmp_path / "mine.zip", files)
    for path in ("mine", "mine.zip"):
        data = read(tmp_path, path, ignore=("ignored",))
        assert data.classes == ("benign", "malignant") and len(data.labels) == 8
        assert data.left_out == {
            "files that end in .pdf": 1,
            "files that end in .dcm": 2,
            "files without an ending": 1,
            "files that `ignore` names": 2,
            "hidden and system files and folders (such as .DS_Store, __MACOSX, @eaDir)": 7,
        }


def test_a_class_is_found_in_whatever_form_its_name_is_stored(tmp_path: Path) -> None:
    stored = unicodedata.normalize("NFD", "größe")
    write_folder(tmp_path / "mine", plain("a", stored))
    typed = unicodedata.normalize("NFC", "größe")
    assert stored != typed
    assert read(tmp_path, "mine").classes == ("a", typed)
    data = read(tmp_path, "mine", classes=(typed, "a"))
    assert data.classes == (typed, "a") and data.labels.tolist() == [1] * 4 + [0] * 4


def test_what_is_no_file_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", plain("a", "b"))
    os.mkfifo(tmp_path / "mine" / "a" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: neither a file nor a folder; remove it"):
        read(tmp_path, "mine")
    (tmp_path / "mine" / "a" / "pipe.png").unlink()
    (tmp_path / "mine" / "a" / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match=r"loop\.png: a link that leads back to itself"):
        read(tmp_path, "mine")
    (tmp_path / "mine" / "a" / "loop.png").unlink()
    os.mkfifo(tmp_path / "whole.zip")
    with pytest.raises(DataError, match=r"whole\.zip: neither a file nor a folder"):
        read(tmp_path, "whole.zip")


def test_names_with_control_characters_are_shown_escaped(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", plain("a", "b\x1b[31m"))
    write_zip(tmp_path / "mine.zip", plain("a", "b\x1b[31m"))
    for path in ("mine", "mine.zip"):
        with pytest.raises(DataError, match=r"'b\\x1b.*'(:| has) .*control characters"):
            read(tmp_path, path)


def test_a_limit_of_pixels_that_the_user_sets(tmp_path: Path) -> None:
    files = plain("a", "b") | {"b/large.png": encoded(Image.new("L", (300, 200)), "PNG")}
    write_folder(tmp_path / "mine", files)
    assert len(read(tmp_path, "mine", max_megapixels=0.06).labels) == 9
    with pytest.raises(
        DataError, match=r"b/large.png: has 0.1 megapixels \(300 × 200\), more than the limit of 0.05 m"
    ):
        read(tmp_path, "mine", max_megapixels=0.05)
