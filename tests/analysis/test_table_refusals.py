"""Tables that cannot be used, and requests that do not fit them, are refused in one line that says where and what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from made_up import made_up
from written_tables import Rows, prediction_rows, refused, result_rows, write

from analysis.comparison.evidence import Evidence
from analysis.imported.evidence import evidence_from_tables
from harness.core.errors import RequestError, one_line


@pytest.fixture(scope="module")
def small() -> Evidence:
    """Three methods on two datasets, six seeds, thirty-six cases of twelve patients."""
    return made_up(
        {"lora": 1.5, "gpaf": 1.9, "control": 1.6},
        seeds=range(1000, 1006),
        cases=36,
        group_size=3,
        control="control",
        family="vs_control",
    )


def renamed(rows: Rows, old: str, new: str) -> Rows:
    return [{new if name == old else name: value for name, value in row.items()} for row in rows]


# A change of the rows, and what the line says.

RESULTS: list[tuple[str, Callable[[Rows], Rows], list[str]]] = [
    ("misspelt column", lambda rows: renamed(rows, "value", "vaule"), ["'value'; rename 'vaule'"]),
    ("other case", lambda rows: renamed(rows, "seed", "Seed"), ["'seed'; rename 'Seed'"]),
    (
        "too large",
        lambda rows: [rows[0], {**rows[1], "metric": "flops", "value": "1e150"}, *rows[2:]],
        ["line 3, column 'value'", "is '1e150', beyond ±1e+38"],
    ),
    ("seed of 2^63", lambda rows: [{**rows[0], "seed": str(2**63)}, *rows[1:]], ["line 2, column 'seed'", "2^63"]),
    ("long name", lambda rows: [{**rows[0], "method": "x" * 201}, *rows[1:]], ["line 2, column 'method'", "letters"]),
    ("no row", lambda rows: [dict.fromkeys(rows[0])], ["no row below the header"]),
    ("seed", lambda rows: [{**rows[0], "seed": "1.5"}, *rows[1:]], ["line 2", "seed is '1.5'", "whole number"]),
    ("text", lambda rows: [rows[0], {**rows[1], "value": "0,81"}, *rows[2:]], ["line 3", "'0,81', not a number"]),
    ("nan", lambda rows: [{**rows[0], "value": "nan"}, *rows[1:]], ["line 2", "'nan', not a number"]),
    ("inf", lambda rows: [{**rows[0], "value": "-inf"}, *rows[1:]], ["line 2", "'-inf', not a number"]),
    ("empty value", lambda rows: [{**rows[0], "value": None}, *rows[1:]], ["line 2", "is empty, not a number"]),
    ("per cent", lambda rows: [{**row, "value": 100 * row["value"]} for row in rows], ["outside [0, 1]", "per cent"]),
    ("no method", lambda rows: [*rows[:4], {**rows[4], "method": " "}, *rows[5:]], ["line 6", "no method"]),
    ("no dataset", lambda rows: [{**rows[0], "dataset": None}, *rows[1:]], ["line 2", "no dataset"]),
    ("twice", lambda rows: [*rows, {**rows[2], "value": 0.5}], ["line 38", "stands already in line 4"]),
    ("one method", lambda rows: rows[:6], ["'lora' is the only method"]),
    (
        "failed and scored",
        lambda rows: [*rows, {**rows[0], "metric": "auc", "value": "failed"}],
        ["line 38", "has values and is said to have failed"],
    ),
    (
        "several metrics",
        lambda rows: [*rows, *({**row, "metric": "dice"} for row in rows)],
        ["several metrics (balanced_accuracy, dice)", "--metric"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), [entry[1:] for entry in RESULTS], ids=[entry[0] for entry in RESULTS])
def test_results_that_cannot_be_used_are_refused_in_one_line(
    change: Callable[[Rows], Rows], said: list[str], small: Evidence, tmp_path: Path
) -> None:
    # As text throughout, so that a change of one cell does not change the others.
    rows = [{name: None if v is None else str(v) for name, v in row.items()} for row in change(result_rows(small))]
    path = write(tmp_path / "results.csv", rows)
    refused(lambda: evidence_from_tables(path), str(path), *said)


PREDICTIONS: list[tuple[str, Callable[[Rows], Rows], list[str]]] = [
    ("misspelt column", lambda rows: renamed(rows, "label", "labels"), ["'label'; rename 'labels'"]),
    ("gap", lambda rows: [{**row, "logit_4": 0.0} for row in rows], ["'logit_4' but no 'logit_3'"]),
    ("seed", lambda rows: [{**rows[0], "seed": 0.5}, *rows[1:]], ["lora on alpha has the seed 0.5"]),
    ("no case", lambda rows: [{**rows[0], "case_id": ""}, *rows[1:]], ["'case_id' is empty"]),
    ("case twice", lambda rows: [rows[7], *rows], ["alpha, lora, seed 1000, case case 0007: it stands twice"]),
    (
        "labels differ",
        lambda rows: [*rows[:40], {**rows[40], "label": (rows[40]["label"] + 1) % 3}, *rows[41:]],
        ["lora, seed 1001, case case 0004", "label is another than in another trial"],
    ),
    (
        "groups differ",
        lambda rows: [*rows[:40], {**rows[40], "group": "somebody"}, *rows[41:]],
        ["lora, seed 1001, case case 0004", "group is another"],
    ),
    ("label too large", lambda rows: [{**row, "label": row["label"] + 1} for row in rows], ["not one of 0 to 2"]),
    ("label no number", lambda rows: [{**row, "label": "nevus"} for row in rows], ["'label'", "no whole number"]),
    ("too large", lambda rows: [{**rows[0], "logit_1": 1e308}, *rows[1:]], ["case 0000: a logit is beyond ±1e+38"]),
    ("dates", lambda rows: [{**row, "group": date(2020, 1, 1)} for row in rows], ["column 'group': it holds Date"]),
    ("lists", lambda rows: [{**row, "logit_1": [1.0]} for row in rows], ["column 'logit_1': it holds List(Float64)"]),
    ("structs", lambda rows: [{**row, "seed": {"a": 1}} for row in rows], ["column 'seed': it holds Struct"]),
    ("bytes", lambda rows: [{**row, "method": b"\xff"} for row in rows], ["column 'method': it holds Binary"]),
    ("not finite", lambda rows: [{**rows[0], "logit_1": float("inf")}, *rows[1:]], ["case 0000: a logit is not"]),
    (
        "fewer classes",
        lambda rows: [{**row, "logit_2": None} if row["method"] == "gpaf" else row for row in rows],
        ["gpaf, seed 1000, case case 0000: 'logit_2' is empty", "the same classes"],
    ),
    ("one logit", lambda rows: [{**row, "logit_1": None, "logit_2": None} for row in rows], ["0 into 'logit_0'"]),
    (
        "probabilities",
        lambda rows: [{**row, "logit_0": 0.5, "logit_1": 0.25, "logit_2": 0.25} for row in rows],
        ["probabilities p, not logits; write log(p)"],
    ),
    (
        "both kinds of label",
        lambda rows: [{**row, **{f"label_{k}": 1 for k in range(3)}} for row in rows],
        ["both 'label' and 'label_0'"],
    ),
    ("one method", lambda rows: [row for row in rows if row["method"] == "gpaf"], ["'gpaf' is the only method"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"), [entry[1:] for entry in PREDICTIONS], ids=[entry[0] for entry in PREDICTIONS]
)
def test_predictions_that_cannot_be_used_are_refused_in_one_line(
    change: Callable[[Rows], Rows], said: list[str], small: Evidence, tmp_path: Path
) -> None:
    path = write(tmp_path / "predictions.parquet", change(prediction_rows(small)))
    refused(lambda: evidence_from_tables(None, path), str(path), *said)


def test_files_that_are_no_tables_are_refused_in_one_line(small: Evidence, tmp_path: Path) -> None:
    good = write(tmp_path / "results.csv", result_rows(small))
    semicolons = tmp_path / "semicolons.csv"
    semicolons.write_text(good.read_text().replace(",", ";"))
    ragged = tmp_path / "ragged.csv"
    ragged.write_text(good.read_text() + "lora,alpha,1,accuracy,0,8\n")
    torn, empty, latin = tmp_path / "torn.parquet", tmp_path / "empty.csv", tmp_path / "latin.csv"
    torn.write_bytes(b"PAR1 and not much else")
    empty.write_bytes(b"")
    latin.write_bytes(good.read_bytes().replace(b"alpha", b"\xe9t\xe9"))
    utf16, mac, wide = (tmp_path / f"{name}.csv" for name in ("utf16", "mac", "wide"))
    utf16.write_text(good.read_text(), encoding="utf-16")
    mac.write_bytes(good.read_bytes().replace(b"\n", b"\r"))
    wide.write_text(",".join(f"c{number}" for number in range(30_000)) + "\n")
    endless = tmp_path / "endless.csv"
    endless.write_text("method," * 200_000 + "\n")
    quote = tmp_path / "quote.csv"
    quote.write_text(good.read_text() + '"lora,alpha,1,accuracy,0.8\n')
    for path, said in (
        (utf16, "save it as text in UTF-8"),
        (mac, "save it with line feeds"),
        (wide, "line 1: 30,000 columns; a table has at most 20,000"),
        (endless, "first line is longer than 1,048,576 bytes"),
        (quote, "line 38: "),
        (latin, "line 2: byte 0xe9 is not UTF-8"),
        (ragged, "line 38: 6 fields, but the header has 5 columns"),
        (tmp_path / "missing.csv", "no such file"),
        (tmp_path, "a folder, not a table"),
        (tmp_path / "results.xlsx", ".parquet"),
        (semicolons, "separated by semicolons"),
        (ragged, "not a comma-separated table"),
        (torn, "not a parquet table"),
        (empty, "not a comma-separated table"),
        (latin, "not a comma-separated table"),
    ):
        refused(lambda path=path: evidence_from_tables(path), str(path), said)
        refused(lambda path=path: evidence_from_tables(good, path), str(path))


def test_lines_are_counted_in_the_file_where_a_cell_holds_a_line_end(small: Evidence, tmp_path: Path) -> None:
    rows = [{**row, "notes": "two\nlines"} for row in result_rows(small)]
    path = write(tmp_path / "results.csv", [*rows[:9], {**rows[9], "value": None}, *rows[10:]])
    # Nine rows of two lines lie before it, and the header.
    refused(lambda: evidence_from_tables(path), f"{path}, line 20, column 'value'")


def test_a_damaged_parquet_file_is_refused_without_a_word_of_its_reader(
    small: Evidence, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "results.parquet", result_rows(small)).read_bytes()
    damaged, panics = tmp_path / "damaged.parquet", 0
    for place in range(4, len(good), 7):
        damaged.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            evidence_from_tables(damaged)
        except RequestError as error:
            panics += "it is damaged" in str(error)
            assert str(error) == one_line(str(error))
    assert panics > 0
    assert capfd.readouterr().err == ""


def test_a_column_in_another_place_is_no_reason_to_compare_for_hours(small: Evidence, tmp_path: Path) -> None:
    rows = [{**row, "method": f"{row['method']} {number}"} for number, row in enumerate(result_rows(small) * 3)]
    refused(lambda: evidence_from_tables(write(tmp_path / "results.csv", rows)), "108 methods", "11,556 pairs")


def test_requests_that_do_not_fit_the_tables_are_refused(small: Evidence, tmp_path: Path) -> None:
    table = write(tmp_path / "results.csv", result_rows(small))
    refused(lambda: evidence_from_tables(None), "--table", "--predictions")
    refused(lambda: evidence_from_tables(table, control="contrl"), "--control contrl", "did you mean 'control'?")
    refused(lambda: evidence_from_tables(table, metric="balanced_acc"), "--metric", "did you mean 'balanced_accuracy'?")
    for margin in (0.0, -0.01, float("nan"), float("inf")):
        refused(lambda margin=margin: evidence_from_tables(table, margin=margin), "--margin", "above 0")


def test_tables_that_contradict_each_other_are_refused(small: Evidence, tmp_path: Path) -> None:
    predictions = write(tmp_path / "predictions.parquet", prediction_rows(small))
    rows = result_rows(small)

    def both(changed: Rows) -> Callable[[], Evidence]:
        text = [{name: str(value) for name, value in row.items()} for row in changed]
        return lambda: evidence_from_tables(write(tmp_path / "results.csv", text), predictions)

    refused(both([{**rows[0], "value": 0.123}, *rows[1:]]), "lora on alpha, seed 1000, is 0.123", "predictions give 0.")
    refused(both([{**rows[0], "value": "n/a"}, *rows[1:]]), "is undefined, but its predictions give")
    refused(both([{**rows[0], "value": "failed"}, *rows[1:]]), "seed 1000, has predictions", "failed")
    misspelt = [{**row, "method": row["method"].replace("gpaf", "gpaff")} for row in rows]
    refused(both(misspelt), "no method 'gpaf'; did you mean 'gpaff'?")
    refused(both([row for row in rows if row["dataset"] == "alpha"]), "no dataset 'beta'")
