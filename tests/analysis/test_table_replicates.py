"""Tables of several splits and searches: what the evidence holds of them, and what the report command refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sketches import svg_alone
from written_tables import Rows, write

from analysis.imported.evidence import evidence_from_tables
from analysis.report import main
from harness.metrics.table import evaluate

SPLITS = {"second": range(20, 44), "first": range(0, 24), "third": range(36, 60)}
"""Test images of each split of sixty."""
SEEDS = {0: "second", 1: "second", 2: "first", 3: "first", 4: "third", 5: "third"}


def logits_of(method: str, seed: int) -> np.ndarray:
    """Of all sixty images, shape (60, 3)."""
    draw = np.random.default_rng([seed, *method.encode()])
    return draw.normal(size=(60, 3)) + 1.5 * np.eye(3)[np.arange(60) % 3]


def predictions() -> Rows:
    return [
        {"method": method, "dataset": "alpha", "seed": seed, "split": split, "case_id": f"image {image:02}"}
        | {"group": f"patient {image // 2}", "label": image % 3}
        | {f"logit_{k}": float(value) for k, value in enumerate(logits_of(method, seed)[image])}
        for method in ("lora", "gpaf")
        for seed, split in SEEDS.items()
        for image in SPLITS[split]
    ]


def accuracy(method: str, seed: int) -> float:
    images = np.array(SPLITS[SEEDS[seed]])
    return float(np.mean(logits_of(method, seed)[images].argmax(axis=1) == images % 3))


def results() -> Rows:
    """As text throughout, so that a change of one cell does not change the others."""
    return [
        {"method": method, "dataset": "alpha", "seed": str(seed), "metric": "accuracy", "split": split}
        | {"search": f"{method} {seed // 2}", "train_cases": "30", "test_cases": "24"}
        | {"value": str(accuracy(method, seed))}
        for method in ("lora", "gpaf")
        for seed, split in SEEDS.items()
    ]


def without(rows: Rows, *columns: str) -> Rows:
    return [{name: value for name, value in row.items() if name not in columns} for row in rows]


def put(rows: Rows, place: int, **cells: str | None) -> Rows:
    return [*rows[:place], {**rows[place], **cells}, *rows[place + 1 :]]


def test_each_training_is_scored_on_its_own_split_and_one_split_is_shown(tmp_path: Path) -> None:
    # Of the third split one training lacks an image.
    rows = [row for row in predictions() if (row["method"], row["seed"], row["case_id"]) != ("gpaf", 5, "image 40")]
    path = write(tmp_path / "predictions.parquet", rows)
    read = evidence_from_tables(None, path)
    for method in ("lora", "gpaf"):
        cell = read.cells["alpha", method]
        assert dict(cell.splits) == SEEDS and not cell.tuned_on and not cell.searches
        for seed, split in SEEDS.items():
            images = np.array(SPLITS[split])
            expected = evaluate(logits_of(method, seed)[images], images % 3)
            if (method, seed) != ("gpaf", 5):
                assert cell.scores["balanced_accuracy"][seed] == pytest.approx(expected["balanced_accuracy"], abs=1e-12)
    assert read.cells["alpha", "gpaf"].missing == (5,)
    shown = read.predictions("alpha")
    assert shown is not None and shown.case_ids == tuple(f"image {image:02}" for image in SPLITS["second"])
    assert {method: sorted(own) for method, own in shown.logits.items()} == {"lora": [0, 1], "gpaf": [0, 1]}
    assert np.array_equal(shown.logits["gpaf"][1], logits_of("gpaf", 1)[SPLITS["second"]])
    assert read.overlap == {"alpha": 0.3125}
    with svg_alone():
        assert main(["--predictions", str(path), "--out", str(tmp_path / "report")]) == 0
    flags = (tmp_path / "report" / "report.md").read_text()
    assert flags.count("are of split second of alpha alone, the first in the table; scores are of all splits") == 1
    assert flags.count("tuned on another split than it is tested on has seen some of its test images") == 1
    assert flags.count("0.312 test images for each training image are assumed") == 1
    assert "alpha: gpaf was scored on other test cases than most trials of split third in seed 5" in flags


def test_the_overlap_of_splits_is_what_the_tables_say(tmp_path: Path) -> None:
    path = write(tmp_path / "predictions.parquet", without(predictions(), "split"))
    rows = without(results(), "test_cases")
    known = [{**row, "train_cases": "40" if row["split"] == "first" else "30"} for row in rows]
    read = evidence_from_tables(write(tmp_path / "results.csv", known), path)
    # 24 test images are counted in the predictions of each split.
    assert read.overlap == {"alpha": 72 / 100}
    assert not {"assumed_overlap", "missing_values"} & {one.code for one in read.cautions}
    # A split without a number is taken to be as the others are.
    known = [{**row, "train_cases": None if row["split"] == "first" else "30"} for row in rows]
    assert evidence_from_tables(write(tmp_path / "results.csv", known), path).overlap == {"alpha": 48 / 60}
    alone = evidence_from_tables(write(tmp_path / "alone.csv", results()))
    assert alone.overlap == {"alpha": 24 / 30} and dict(alone.cells["alpha", "lora"].splits) == SEEDS


def test_searches_are_kept_where_a_method_has_several(tmp_path: Path) -> None:
    # One split, and the control was tuned once; another dataset has one search for each method.
    rows = without([{**row, "split": "only"} for row in results()], "train_cases", "test_cases")
    rows = [{**row, "search": "once"} if row["method"] == "lora" else row for row in rows]
    rows += [{**row, "dataset": "beta", "search": row["method"]} for row in rows]
    rows = put(rows, 11, value="failed")
    table = write(tmp_path / "results.csv", rows)
    read = evidence_from_tables(table, control="lora")
    searches = {0: "gpaf 0", 1: "gpaf 0", 2: "gpaf 1", 3: "gpaf 1", 4: "gpaf 2", 5: "gpaf 2"}
    assert {place: dict(cell.searches) for place, cell in read.cells.items()} == {
        ("alpha", "lora"): {},
        ("alpha", "gpaf"): searches,
        ("beta", "lora"): {},
        ("beta", "gpaf"): {},
    }
    assert not any(cell.splits or cell.tuned_on for cell in read.cells.values()) and not read.overlap
    assert main(["--table", str(table), "--control", "lora", "--out", str(tmp_path / "report")]) == 0
    assert "tuned on another split" not in (tmp_path / "report" / "report.md").read_text()
    assert json.loads((tmp_path / "report" / "results.json").read_text())["comparison"]["comparisons"]


REFUSED: list[tuple[str, Callable[[Rows], Rows] | None, Callable[[Rows], Rows] | None, tuple[str, ...]]] = [
    ("no split", lambda rows: put(rows, 3, split=" "), None, ("line 5, column 'split': no split; fill in its label",)),
    ("no search", lambda rows: put(rows, 3, search=None), None, ("line 5, column 'search': no search", "the same in")),
    ("long label", lambda rows: put(rows, 0, split="x" * 201), None, ("line 2, column 'split'", "200 letters")),
    ("other spelling", lambda rows: [{"Split": "a", **row} for row in without(rows, "split")], None,
     ("the column 'Split' would be ignored; rename it 'split'",)),
    ("a seed on two splits", lambda rows: [*rows, {**rows[0], "split": "first"}], None,
     ("line 14: lora on alpha, seed 0, has the split 'first' here and 'second' before; number the seeds",)),
    ("a seed of two searches", lambda rows: [*rows, {**rows[0], "metric": "auc", "search": "x"}], None,
     ("line 14: lora on alpha, seed 0, has the search 'x' here and 'lora 0' before",)),
    ("another split in another method", lambda rows: put(rows, 8, split="third"), None,
     ("line 10: gpaf on alpha, seed 2, has the split 'third', but in lora it has 'first'; methods are paired",)),
    ("one split alone", lambda rows: rows[:8], None,
     ("line 8: gpaf on alpha has the split 'second' alone, but lora has 3 splits",)),
    ("half an image", lambda rows: put(rows, 0, train_cases="1.5"), None,
     ("line 2, column 'train_cases': '1.5' is not a whole number above 0",)),
    ("no image", lambda rows: put(rows, 0, test_cases="0"), None, ("line 2, column 'test_cases': '0' is not a whole",)),
    ("a split of two sizes", lambda rows: put(rows, 7, train_cases="31"), None,
     ("line 9, column 'train_cases': 31 images on split 'second' of alpha, but 30 in ", "line 2; correct one")),
    ("another number of cases", lambda rows: [{**row, "test_cases": "25"} for row in rows], lambda rows: rows,
     ("25 images on split 'second' of alpha, but its predictions are of 24",)),
    ("another split in the predictions", lambda rows: rows, lambda rows: [{**row, "split": "fourth"} for row in rows],
     ("predictions.parquet: the split of lora on alpha, seed 0, is 'fourth' here and 'second' in results.csv",)),
    ("a split in one table alone", lambda rows: without(rows[:1] + rows[6:7], "split", "search", "test_cases"),
     lambda rows: [row for row in rows if row["seed"] > 0],
     ("results.csv, line 2: no split of lora on alpha, seed 0, though the other", "add it to results.csv")),
    ("no case ids", None, lambda rows: without(rows, "case_id"), ("no column 'case_id'; add it: splits test",)),
    ("case ids that count", None,
     lambda rows: [{**row, "case_id": int(row["case_id"][6:]) - SPLITS[row["split"]][0], "group": "g"} for row in rows],
     ("label is another than in another trial", "an image the same case_id in all splits")),
    ("the same cases on two splits", None,
     lambda rows: [{**row, "split": "again" if row["seed"] == 1 else row["split"]} for row in rows],
     ("alpha: the splits 'second' and 'again' have the same test cases", "give both the same label")),
    ("a seed on two splits", None, lambda rows: [{**row, "seed": 0} for row in rows],
     ("lora on alpha, seed 0, has the split 'first' here and 'second' before",)),
]  # fmt: skip


@pytest.mark.parametrize(("table", "cases", "said"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_cannot_be_is_refused_in_one_line(
    table: Callable[[Rows], Rows] | None,
    cases: Callable[[Rows], Rows] | None,
    said: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--out", str(tmp_path / "report")]
    if table is not None:
        words += ["--table", str(write(tmp_path / "results.csv", table(results())))]
    if cases is not None:
        words += ["--predictions", str(write(tmp_path / "predictions.parquet", cases(predictions())))]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in said), line
    assert not (tmp_path / "report").exists()
