"""Which methods get a test image right is counted by hand, shown with its image, and never written into the run."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from home import Home
from PIL import Image

from harness.cases.__main__ import main
from harness.cases.agreement import agreement


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def frame(cases: dict[str, tuple[int, int]]) -> pl.DataFrame:
    """Predictions of one replicate: case → (label, class with the largest logit)."""
    logits = np.zeros((len(cases), 3))
    logits[np.arange(len(cases)), [predicted for _, predicted in cases.values()]] = 2.0
    labels = pl.Series([label for label, _ in cases.values()], dtype=pl.Int64)
    return pl.DataFrame({"case_id": [*cases], "label": labels, **{f"logit_{k}": logits[:, k] for k in range(3)}})


def test_a_method_is_right_where_most_of_its_replicates_are() -> None:
    judged = agreement(
        {
            "b": [
                frame({"one": (0, 0), "two": (1, 1), "tie": (2, 2), "none": (0, 1), "alone": (1, 1)}),
                frame({"one": (0, 0), "two": (1, 0), "tie": (2, 0), "none": (0, 2), "not a": (1, 1)}),
                frame({"two": (1, 1), "none": (0, 2)}),
            ],
            "a": [frame({"one": (0, 1), "two": (1, 1), "tie": (2, 1), "none": (0, 1), "alone": (1, 1)})],
            "c": [frame({"one": (0, 2), "two": (1, 1), "tie": (2, 2), "none": (0, 1), "alone": (1, 2)})],
        }
    )
    kinds = dict(judged.select("case_id", "kind").iter_rows())
    # Half of two replicates is not most of them; a case that one method was not tested on is left out.
    assert kinds == {
        "one": "only b", "two": "every method", "tie": "only c", "none": "no method", "alone": "some methods",
    }  # fmt: skip
    assert judged["method"].to_list() == ["b", "a", "c"] * 5
    two = judged.row(by_predicate=(pl.col("case_id") == "two") & (pl.col("method") == "b"), named=True)
    assert (two["replicates"], two["right"], two["predicted"]) == (3, 2, 1)
    none = judged.row(by_predicate=(pl.col("case_id") == "none") & (pl.col("method") == "b"), named=True)
    assert (none["right"], none["predicted"]) == (0, 2)


def test_a_sheet_shows_the_images_and_the_run_stays_as_it_is(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(home.run)
    page, table = tmp_path / "cases.html", tmp_path / "cases.csv"
    assert main([str(home.run), "zero_one", "--out", str(table)]) == 0
    frame = pl.read_csv(table)
    tested = pl.read_parquet(next(home.confirm_trial.glob("*.parquet")))
    assert set(frame["case_id"]) == set(tested["case_id"]) and frame["method"].unique().to_list() == ["my_probe"]
    said = capsys.readouterr().out
    for kind, number in frame["kind"].value_counts().iter_rows():
        assert f"{number:6,} right by {kind}" in said
    # A page needs the images, whose dataset is opened with the plugins of the run.
    assert main([str(home.run), "zero_one", "--out", str(page)]) == 2
    assert "add --code if you trust them" in capsys.readouterr().err
    assert main([str(home.run), "zero_one", "--out", str(page), "--plugins", str(home.plugin.parent)]) == 0
    text = page.read_text()
    assert "has used the test split" in text and "Right by every method" in text
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(one))) for one in re.findall(r"data:image/png;base64,([^\"]+)", text)
    ]
    assert len(pictures) == frame["kind"].n_unique() and all(picture.width == 602 for picture in pictures)
    assert contents(home.run) == before


def test_what_cannot_be_shown_is_refused_in_one_line(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, told in (
        (["zero_on", "--out", "x.csv"], "did you mean 'zero_one'?"),
        (["zero_one", "--out", "x.txt"], "choose one of these endings"),
        (["zero_one", "--out", str(home.run / "x.csv")], "is inside the run directory"),
    ):
        assert main([str(home.run), *words]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and told in error
    home.confirm_trial.rename(tmp_path / "away")
    assert main([str(home.run), "zero_one", "--out", "x.csv"]) == 2
    assert "no confirm trial is done yet" in capsys.readouterr().err
