"""No cell of a CSV file that we write is a formula, and numbers stay numbers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest
from home import Home
from hypothesis import given
from hypothesis import strategies as st

from analysis.tables.files import comma_separated
from harness.core.csv_cells import guarded, unguarded
from harness.export.__main__ import main as export
from harness.pages.contents import PageTable

FORMULAS = (
    "=1+1",
    '=HYPERLINK("http://x")',
    "+a",
    "-a",
    "-1+cmd|' /C calc'!A0",
    "@sum(1)",
    "\t=1",
    "\r=1",
    "-",
    "[-",
    "'=1",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert guarded(text) == (text if text == "[-" else f"'{text}")
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize(
    "text", ["-1", "+2", "-0.0312", "-.5", "-1e-3", "1,204", "-1,204.5", "", "n/a", "a-b", "'tis", "< 0.001"]
)
def test_numbers_and_plain_text_stay_as_they_are(text: str) -> None:
    assert guarded(text) == text == unguarded(text)


@given(st.text(alphabet="'=+-@\t\r\n1.ea", max_size=6))
def test_what_was_written_can_be_read_back(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in {*"=@\t\r\n"}


def test_tables_guard_names_headings_and_messages() -> None:
    made = PageTable(
        caption="", head=("Method", "=head", "Mean"), align="llr", name="t",
        groups=(("@group", (("=lora", "-message", "\N{MINUS SIGN}0.5"),)),),
    )  # fmt: skip
    assert list(csv.reader(io.StringIO(comma_separated(made)))) == [
        ["Group", "Method", "'=head", "Mean"],
        ["'@group", "'=lora", "'-message", "-0.5"],
    ]


def test_an_exported_message_is_text_and_numbers_are_numbers(home: Home) -> None:
    result = home.confirm_trial / "result.json"
    found = json.loads(result.read_text())
    failed = {**found, "status": "failed", "cause": "bug", "message": "=cmd|' /C calc'!A0"}
    result.write_text(json.dumps(failed))
    place: Path = home.path / "trials.csv"
    assert export([str(home.run), "--to", "csv", str(place)]) == 0
    frame = pl.read_csv(place)
    assert [text for text in frame["message"] if text] == ["'=cmd|' /C calc'!A0"]
    assert frame["hp_head_lr"].dtype == pl.Float64 and frame["seed"].dtype == pl.Int64
