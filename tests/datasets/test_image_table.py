"""A user's own table of images: three forms of it, patients, sides, several labels, and each mistake in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest
from archives import dataset, decoded, encoded, picture, plugin, refused, write_folder, write_zip
from home import one_error
from PIL import Image

from harness.core.errors import RequestError
from harness.data.__main__ import main
from harness.data.options import read_options
from harness.data.split import indices, make_split

HEADER = ["file", "label", "patient", "split", "age", "Home Site"]
FILES = [f"{side}/{name}{n}.png" for side in ("train", "val", "test") for name in ("mel", "nv") for n in range(4)]
ROWS = [
    [
        file,
        "mel" if "mel" in file else "nv",
        f"P{place // 2}",
        file.split("/")[0],
        "" if place == 0 else str(20 + place),
        "NA" if place == 1 else "north",
    ]
    for place, file in enumerate(FILES)
]
MEL1 = "in PLACE/mine; did you mean 'train/mel1.png'?"
FLAGS = {"table": "flags.csv", "images": "mine", "label": ("a", "b")}
COLUMNS: Mapping[str, object] = {"table": "mine.csv", "images": "mine", "patient": "patient"}


def write(root: Path, rows: Sequence[Sequence[str]] = ROWS, header: Sequence[str] = HEADER) -> Path:
    """Images of every row of ``ROWS``, as a folder and an archive, and a table."""
    files = {row[0]: picture(place, "PNG") for place, row in enumerate(ROWS)}
    write_folder(root / "mine", files)
    write_zip(root / "mine.zip", {f"mine/{name}": content for name, content in files.items()})
    (root / "mine.csv").write_text("\n".join(",".join(row) for row in (header, *rows)) + "\n")
    return root


def changed(row: int, column: str, value: str) -> list[list[str]]:
    """``ROWS`` with another cell; rows count from 2, as in a spreadsheet."""
    rows = [[*cells] for cells in ROWS]
    rows[row - 2][HEADER.index(column)] = value
    return rows


def test_three_forms_of_a_table_and_both_of_images_give_the_same(tmp_path: Path) -> None:
    write(tmp_path)
    metadata = {"age": "number", "Home Site": "category"}
    options = {**COLUMNS, "split": "split", "metadata": metadata}
    before = decoded("image_table", tmp_path, tmp_path / "cache", **options)
    text = (tmp_path / "mine.csv").read_text()
    (tmp_path / "mine.tsv").write_text(text.replace(",", "\t"))
    (tmp_path / "semi.csv").write_text("﻿" + text.replace(",", ";"))
    pl.read_csv(tmp_path / "mine.csv", null_values="").write_parquet(tmp_path / "mine.parquet")
    for table in ("mine.tsv", "semi.csv", "mine.parquet"):
        other = decoded("image_table", tmp_path, tmp_path / "cache", **{**options, "table": table})
        assert other.records.equals(before.records) and other.metadata.equals(before.metadata)
        assert other.fingerprint == before.fingerprint
    inside = {**options, "images": "mine.zip"}
    zipped = decoded("image_table", tmp_path, tmp_path / "cache", **inside)
    assert zipped.case_ids == tuple(f"mine/{case}" for case in before.case_ids)
    assert before.classes == ("mel", "nv") and list(before.case_ids) == sorted(row[0] for row in ROWS)
    first, second = (before.rows[name] for name in FILES[:2])
    assert before.metadata["age"][first] is None and before.metadata["age"][second] == 21.0
    assert before.metadata["home_site"][first] == "north" and before.metadata["home_site"][second] is None
    assert before.official[first] == "train" and before.records["group"][first] == "P0"


def test_patients_stay_on_one_side(tmp_path: Path) -> None:
    data = decoded("image_table", write(tmp_path), tmp_path / "cache", **COLUMNS)
    sides = [
        {data.records["group"][row] for row in rows.tolist()} for rows in indices(make_split(data, "grouped", 0), data)
    ]
    assert not sides[0] & sides[1] and not (sides[0] | sides[1]) & sides[2]


@pytest.mark.parametrize("name", ["{0}", "{1}", "mine/{0}", "C:\\\\old\\\\{1}"])
def test_a_table_may_name_the_end_of_a_path_without_its_ending(tmp_path: Path, name: str) -> None:
    names = ["deep/left/a.png", "deep/right/b.png", "deep/c.png"]
    write_folder(tmp_path / "mine", {path: picture(at, "PNG") for at, path in enumerate(names)})
    cells = [name.format(path, path.removesuffix(".png")) for path in names]
    if name.startswith("C:"):
        cells = [Path(path).stem for path in names]
    lines = [f"{cell},{'xy'[at % 2]}" for at, cell in enumerate(cells)]
    (tmp_path / "mine.csv").write_text("\n".join(["file,label", *lines]))
    records = dataset("image_table", table="mine.csv", images="mine").records(tmp_path)
    assert [(record.case_id, record.label) for record in records] == [(names[2], 0), (names[0], 0), (names[1], 1)]


def test_labels_are_mapped_and_left_out(tmp_path: Path) -> None:
    write(tmp_path, [*changed(2, "label", "odd")])
    write_folder(tmp_path / "mine", {"train/mel0_mask.png": picture(99, "PNG"), "more.png": picture(98, "PNG")})
    options = {**COLUMNS, "map": {"mel": "melanoma", "nv": "other", "odd": None}, "exclude": ("*_mask*",)}
    one = dataset("image_table", **options)
    records = one.records(tmp_path)
    assert one.find_classes(tmp_path) == ("melanoma", "other") and len(records) == len(ROWS) - 1
    assert one.left_out(tmp_path) == {
        "images that no row names": 1, "files that `exclude` names": 1, "images whose label `map` leaves out": 1,
    }  # fmt: skip


def test_several_labels_an_image(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {f"{n}.png": picture(n, "PNG") for n in range(4)})
    (tmp_path / "mine.csv").write_text("file,label\n0.png,b|a\n1.png,a\n2.png,none\n3.png,b\n")
    cells = dataset(
        "image_table", table="mine.csv", images="mine", separator="|", map={"a": "a", "b": "b", "none": None}
    )
    expected = [(1, 1), (1, 0), (0, 0), (0, 1)]
    assert [record.label for record in cells.records(tmp_path)] == expected and cells.multi_label
    (tmp_path / "flags.csv").write_text("file,a,b\n0.png,1,1\n1.png,1.0,0.0\n2.png,False,False\n3.png,0,1\n")
    data = decoded("image_table", tmp_path, tmp_path / "cache", **FLAGS)
    assert data.multi_label and data.labels.tolist() == [list(label) for label in expected]
    (tmp_path / "one.csv").write_text("file,a,b\n0.png,1,0\n1.png,0,1\n2.png,1,0\n3.png,0,1\n")
    one = dataset("image_table", table="one.csv", images="mine", label=("a", "b"), exclusive=True)
    assert [record.label for record in one.records(tmp_path)] == [0, 1, 0, 1] and not one.multi_label
    line = refused("image_table", tmp_path, exclusive=True, **FLAGS)
    assert "flags.csv: row 2: a, b are 1, but exactly one must be" in line


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (ROWS, {"label": "lable"}, "no column 'lable'; it has file, label, patient, split, age, Home Site; did"),
        (ROWS, {"metadata": {"ages": "number"}}, "no column 'ages'; it has"),
        (changed(3, "file", "train/mel1.jpg"), {}, f"row 3: no file 'train/mel1.jpg' {MEL1}"),
        (changed(3, "file", "lost/mel1.png"), {}, "'lost/mel1.png' in PLACE/mine; did you mean 'test/mel1.png'?"),
        (changed(3, "file", "mel1.png"), {}, "row 3: 'mel1.png' is the name of 3 files"),
        (changed(3, "file", "train/mel0.png"), {}, "row 3: 'train/mel0.png' is the image of row 2 too; remove one"),
        (changed(4, "file", ""), {}, "row 4: column 'file' is empty"),
        (changed(4, "label", ""), {}, "row 4: column 'label' is empty; fill it"),
        (changed(4, "label", ""), {"separator": "|"}, "row 4: column 'label' is empty; write a word for none"),
        (changed(4, "patient", ""), {}, "row 4: column 'patient' is empty; every image needs"),
        (changed(4, "split", "tset"), {"split": "split"}, "row 4: 'tset' is no side of a split; did you mean 'test'"),
        (changed(4, "split", ""), {"split": "split"}, "row 4: column 'split' is empty"),
        (changed(4, "age", "old"), {"metadata": {"age": "number"}}, "row 4: age: 'old' is no number"),
        (changed(4, "label", "nvv"), {"map": {"mel": "a", "nv": "b"}}, "row 4: the label 'nvv' is not in `map`; did"),
        (changed(4, "label", "nvv"), {"classes": ("mel", "nv")}, "row 4: the class 'nvv' is not in `classes`; did"),
        (changed(5, "patient", "P0"), {"group": "age", "metadata": {}}, "row 2: column 'age' is empty"),
        (ROWS, {"group": "split"}, "row 4: split 'train' has patient 'P1' here and 'P0' in row 2"),
        (ROWS, {"exclude": ("*_masks*",)}, "`exclude` lists '*_masks*', which is the name of no file"),
        (ROWS, {"label": ("label", "split")}, "row 2: column 'label' is 'mel'; a column of `label` holds 0 or 1"),
        ([[*ROWS[0], "x"]], {}, "line 2: 7 cells where 6 are expected"),
        ([], {}, "the table has no rows"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_row(
    tmp_path: Path, rows: list[list[str]], options: dict[str, object], message: str
) -> None:
    line = refused("image_table", write(tmp_path, rows), **{**COLUMNS, **options})
    assert message in line.replace(str(tmp_path), "PLACE")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scan.nii.gz", "row 3: scan.nii.gz is a volume, and volumes are not read"),
        ("scan.dcm", "row 3: scan.dcm is a DICOM file by its name; read such files with the option `dicom: {}`"),
        ("notes.txt", "row 3: notes.txt is no image by its ending"),
    ],
)
def test_a_row_that_names_something_else(tmp_path: Path, name: str, message: str) -> None:
    write_folder(write(tmp_path, changed(3, "file", name)) / "mine", {name: "x"})
    assert message in refused("image_table", tmp_path, **COLUMNS)


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("mine.xlsx", b"x", "a table ends in .csv, .tsv, .parquet; save the sheet as CSV"),
        ("mine.parquet", b"PAR1 and no more", "not a Parquet file"),
        ("mine.csv", b"file,label\n\xff\xfe,x\n", "not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, table: str, content: bytes, message: str) -> None:
    write(tmp_path)
    (tmp_path / table).write_bytes(content)
    assert message in refused("image_table", tmp_path, table=table, images="mine")


def test_lists_in_a_parquet_file_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    pl.DataFrame({"file": ["a"], "label": [["x", "y"]]}).write_parquet(tmp_path / "mine.parquet")
    assert "column 'label' is List(String), no single" in refused(
        "image_table", tmp_path, table="mine.parquet", images="mine"
    )


@pytest.mark.parametrize(
    ("given", "key", "message"),
    [
        ({"table": "../x.csv"}, "table", "leaves the data root"),
        ({"images": "/etc"}, "images", "leaves the data root"),
        ({"label": ["a"]}, "label", "at least two different"),
        ({"label": ["a", "b"], "separator": "|"}, "separator", "keep one of the two"),
        ({"exclusive": True}, "exclusive", "several columns"),
        ({"one_each": True, "patient": "p"}, "one_each", "keep one of the two"),
        ({"one_each": True, "dicom": {}}, "one_each", "`dicom: {patients: false}`"),
        ({"window": [5, 5]}, "window", "the lower value first"),
        ({"dicom": {"frame": 0}}, "dicom.frame", "count from 1"),
    ],
)
def test_senseless_options_of_a_table(given: dict[str, object], key: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_options(
            plugin("image_table").cls,
            {"table": "t.csv", "images": "i", **given},
            lambda *keys: ".".join(map(str, keys)),
        )
    assert str(caught.value).startswith(f"{key}") and message in str(caught.value)


def test_the_command_says_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPAF_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(write(tmp_path, changed(7, "file", "train/nv11.png")))
    command = ["image_table", "--data-root", ".", "--size", "16", "--set", "table=mine.csv", "--set", "images=mine"]
    assert main(command) == 2
    assert "mine.csv: row 7: no file 'train/nv11.png' in " in one_error(2, capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


DEEP = Image.fromarray(pl.Series(range(12)).to_numpy().reshape(3, 4).astype("uint16") * 100)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_more_than_8_bits_need_a_window(tmp_path: Path, form: str) -> None:
    name = f"x.{form.lower()}"
    write_folder(tmp_path / "mine", {f"a/{name}": encoded(DEEP, form), f"b/{name}": picture(7, "PNG")})
    line = refused("image_folder", tmp_path, path="mine")
    assert f"a/{name}: has more than 8 bits a channel" in line and "or state a `window`" in line
    one = dataset("image_folder", path="mine", window=(200.0, 1000.0)).records(tmp_path)[0].image
    pixels, note = one.decode(one.load(), "x", 1000, lambda amount: None)  # type: ignore[attr-defined]
    wanted = [0, 0, 0, 32, 64, 96, 128, 159, 191, 223, 255, 255]
    assert pixels.ravel().tolist() == wanted and note is None
    data = decoded("image_folder", tmp_path, tmp_path / "cache", path="mine", window=(200.0, 1000.0))
    plain = decoded("image_folder", tmp_path, tmp_path / "cache", path="mine", window=(0.0, 5.0))
    assert (data.images[1] == plain.images[1]).all(), "an image of 8 bits stays as it is"
    assert not (data.images[0] == plain.images[0]).all()
