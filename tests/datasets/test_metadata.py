"""What is known of images beside pixels and labels: the published table, a user's own, and each mistake in one line."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import polars as pl
import pytest
from archives import dataset, decoded, picture, real, refused, write_folder, write_zip
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import DataError
from harness.data.card import make_card
from harness.data.leaks import find_leaks
from harness.data.metadata import case_table, metadata_of
from harness.data.split import make_split
from harness.data.table_cells import category, quantity
from harness.dataset import ArrayImage, MetadataColumn, Record
from harness.pages.cards import metadata_table

ISIC = tuple(f"ISIC2018_Task3_Training_{part}" for part in ("Input.zip", "GroundTruth.zip", "LesionGroupings.csv"))
CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"


def small_isic(root: Path, table: str | None, name: str = "HAM10000_metadata.csv") -> Path:
    """Two images of each class in the published layout, with a table of metadata."""
    root.mkdir(exist_ok=True)
    cases = [f"ISIC_{number:07d}" for number in range(14)]
    write_zip(root / ISIC[0], {f"in/{case}.jpg": picture(10 * place) for place, case in enumerate(cases)})
    rows = [
        f"{case},{','.join('1.0' if place // 2 == k else '0.0' for k in range(7))}" for place, case in enumerate(cases)
    ]
    write_zip(root / ISIC[1], {"labels.csv": "\n".join([f"image,{','.join(CLASSES)}", *rows])})
    lesions = [f"{case},L{place // 2},none" for place, case in enumerate(cases)]
    (root / ISIC[2]).write_text("\n".join(["image,lesion_id,diagnosis_confirm_type", *lesions]))
    if table is not None:
        (root / name).write_text(table)
    return root


def rows(columns: int = 8, cases: int = 14, age: str = "45.0") -> str:
    sites = ("rosendahl", "vidir_modern")
    full = [f"L,ISIC_{number:07d},nv,histo,{age},male,back,{sites[number % 2]}" for number in range(cases)]
    return "\n".join(",".join(line.split(",")[:columns]) for line in (HEADER, *full)) + "\n"


def test_the_published_metadata_are_read_with_their_missing_values(shared_cache: Path) -> None:
    data = decoded("isic2018", real(*ISIC, "HAM10000_metadata.csv"), shared_cache)
    facts = {
        one["name"]: one
        for one in make_card(
            dataset("isic2018"), data, make_split(data, "grouped", 0), find_leaks(data, make_split(data, "grouped", 0))
        )["metadata"]
    }
    assert facts["site"]["values"] == {
        "vidir_molemax": 3954, "vidir_modern": 3363, "rosendahl": 2259, "vienna_dias": 439,
    }  # fmt: skip
    assert (facts["sex"]["missing"], facts["age"]["missing"], facts["age"]["range"]) == (57, 57, [0.0, 85.0])
    cases = case_table(data)
    assert cases.columns == ["case_id", "group", "site", "age", "sex", "localization", "confirmed", "age_decade"]
    with (real("HAM10000_metadata.csv") / "HAM10000_metadata.csv").open() as stream:
        published = {row["image_id"]: row for row in csv.DictReader(stream)}
    for row in cases.filter(pl.col("age").is_not_null()).sample(50, seed=0).iter_rows(named=True):
        own = published[row["case_id"]]
        assert (row["age"], row["site"]) == (float(own["age"]), own["dataset"])
        assert row["age_decade"].split("-")[0] == str(int(row["age"]) // 10 * 10)


def test_metadata_change_no_fingerprint_and_are_read_when_they_come_later(tmp_path: Path) -> None:
    without = decoded("isic2018", small_isic(tmp_path / "raw", None), tmp_path / "cache")
    assert without.metadata.columns == [] and all(column.absent for column in without.columns)
    later = decoded("isic2018", small_isic(tmp_path / "raw", rows()), tmp_path / "cache")
    assert later.fingerprint == without.fingerprint
    assert later.metadata["site"].to_list()[:2] == ["rosendahl", "vidir_modern"]


@pytest.mark.parametrize(("name", "columns", "site"), [
    ("HAM10000_metadata", 8, True), ("HAM10000_metadata.csv", 7, False),
])  # fmt: skip
def test_the_publishers_name_and_kaggles_copy_are_read(tmp_path: Path, name: str, columns: int, site: bool) -> None:
    data = decoded("isic2018", small_isic(tmp_path / "raw", rows(columns), name), tmp_path / "cache")
    assert ("site" in data.metadata.columns) == site
    assert data.metadata["sex"].to_list() == ["male"] * 14
    said = metadata_table("isic", make_card(
        dataset("isic2018"), data, make_split(data, "grouped", 0), find_leaks(data, make_split(data, "grouped", 0))
    ))[0].groups[0][1]  # fmt: skip
    assert ("Kaggle" in said[0][1]) != site


@pytest.mark.parametrize(("table", "what"), [
    (rows(cases=13), "ISIC_0000013: without a row in HAM10000_metadata.csv"),
    (rows(age="old"), "ISIC_0000000: age: 'old' is no number"),
    (rows() + "L,ISIC_0000000,nv,histo,1,male,back,rosendahl\n", "ISIC_0000000: occurs in two rows"),
    (rows(columns=5), "no column 'sex'"),
])  # fmt: skip
def test_wrong_metadata_are_refused_in_one_line(tmp_path: Path, table: str, what: str) -> None:
    assert what in refused("isic2018", small_isic(tmp_path, table))


def folder(root: Path) -> Path:
    write_folder(
        root / "mine", {f"{name}/{n}.png": picture(20 * n + k, "PNG") for k, name in enumerate("ab") for n in range(5)}
    )
    return root


def options(**changes: object) -> dict[str, object]:
    return {
        "path": "mine",
        "metadata": {"path": "mine.csv", "columns": {"age": "number", "site": "category"}, **changes},
    }


def test_a_users_own_table_gives_metadata(tmp_path: Path) -> None:
    folder(tmp_path)
    lines = [
        f"{name}/{n}.png,{'' if n == 0 else n + 20},{'unknown' if n == 1 else 'north'}"
        for name in "ab"
        for n in range(5)
    ]
    (tmp_path / "mine.csv").write_text("\n".join(["image,age,site", *lines, "of/nobody.png,3,south"]))
    data = decoded("image_folder", tmp_path, tmp_path / "cache", **options())
    assert data.metadata["age"].to_list()[:3] == [None, 21.0, 22.0]
    assert data.metadata["site"].to_list()[:3] == ["north", None, "north"]


@pytest.mark.parametrize(("table", "changes", "what"), [
    ("image,age,site\na/0.png,1,x", {}, "a/1.png: the image has no row"),
    ("image,age,site\n0.png,1,x", {}, "is the name of 2 images; write their paths"),
    ("image,ages,site\na/0.png,1,x", {}, "no column 'age'; it has image, ages, site; did you mean 'ages'"),
])  # fmt: skip
def test_a_users_mistakes_take_one_line(tmp_path: Path, table: str, changes: dict[str, object], what: str) -> None:
    folder(tmp_path)
    (tmp_path / "mine.csv").write_text(table)
    assert what in refused("image_folder", tmp_path, **options(**changes))


@pytest.mark.parametrize(("column", "value", "what"), [
    (MetadataColumn("Site", "category"), "x", "cannot be called 'Site'"),
    (MetadataColumn("group", "category"), "x", "cannot be called 'group'"),
    (MetadataColumn("age_decade", "category"), "x", "cannot be called 'age_decade'"),
    (MetadataColumn("site", "category"), 3.0, "site is 3.0, no category"),
    (MetadataColumn("site", "number"), float("nan"), "site is nan, no number"),
    (MetadataColumn("site", "number", absent="gone"), 1.0, "which is no column of the dataset here"),
])  # fmt: skip
def test_a_plugins_mistakes_take_one_line(column: MetadataColumn, value: str | float, what: str) -> None:
    record = Record("case", 0, ArrayImage(None), metadata={column.name: value})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=what):
        metadata_of("mine", [column], [record])


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_written_number_is_read_again(value: float) -> None:
    assert quantity(f" {value!r} ", "here") == value


@pytest.mark.parametrize("text", ["", " NA", "unknown", "NaN", "null", "n/a"])
def test_what_says_that_nothing_is_known_is_missing(text: str) -> None:
    assert category(text) is None and quantity(text, "here") is None


def test_a_damaged_table_in_the_cache_is_refused(tmp_path: Path) -> None:
    root = small_isic(tmp_path / "raw", rows())
    decoded("isic2018", root, tmp_path / "cache")
    place = next((tmp_path / "cache").glob("isic2018-*"))
    shutil.copy(place / "records.arrow", place / "metadata.arrow")
    with pytest.raises(Exception, match="this decoded dataset is damaged"):
        decoded("isic2018", root, tmp_path / "cache")
