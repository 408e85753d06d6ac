"""The card of a model says what the report says, and every text in it is shown as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from home import content, one_error

from analysis.comparison.compare import analyse
from analysis.comparison_results import comparison_records
from analysis.model_card import main
from analysis.runs.evidence import evidence_of
from harness.pages.contents import number

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder


def test_a_card_says_what_the_report_says_of_one_cell(unfinished: RunBuilder, tmp_path: Path) -> None:
    before, out = content(unfinished.run.path), tmp_path / "card.md"
    trial = unfinished.run.study("gpaf@beta").confirm_trial("c0ffee", 1001)
    trial.trained_path.write_bytes(b"kept")
    before |= {str(trial.trained_path.relative_to(unfinished.run.path)): b"kept"}
    assert main([str(unfinished.run.path), "gpaf@beta", "--out", str(out)]) == 0
    assert content(unfinished.run.path) == before
    text = out.read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Read this first", "## 1. Use", "## 2. Data", "## 3. Training", "## 4. Scores", "## 5. Limits",
    ]  # fmt: skip
    assert text.startswith("# gpaf on beta\n\n5 models of the sweep made up: resnet18 (weights none)")
    for words in (
        "The models of 1 replicate were kept (seeds 1001)",
        "python -m harness.predict RUN gpaf@beta IMAGES --out FILE",
        "- Licence: CC0", "- Patients or lesions: known", "| All images | 180 | 48 | 72 | 300 |",
        "A training took at most 4 epochs, in batches of 16 images",
        "Chosen: slot 1 of 3, validation balanced accuracy 0.7400",
        "- Configuration c0ffee: lr 0.002, optimizer adamw, rank 8",
        "Trained parameters: 12,345, beside 1,026 of the head.",
        "- Commit: 0123abc", "Limits", "Nobody has tested them for use on patients",
    ):  # fmt: skip
        assert words in text, words
    # Scores and verdicts are those of results.json.
    records = comparison_records(analyse(evidence_of([unfinished.run])))
    scores = [one for one in records["scores"] if (one["dataset"], one["method"]) == ("beta", "gpaf")]  # type: ignore[attr-defined]
    assert len(scores) == 8
    for one in scores:
        interval = one["over_seeds"]
        ends = rf"\[{number(interval['low'])}, {number(interval['high'])}\]"
        assert f"| {number(one['mean'])} | {number(one['sd'])} | {ends} |" in text
    (claim,) = (one for one in records["claims"] if (one["dataset"], one["a"]) == ("beta", "gpaf"))  # type: ignore[attr-defined]
    assert f"| {claim['statement']} | {claim['status']} | {claim['evidence']} | {claim['scope']} |" in plain(text)
    assert f"Scope of the intervals: {claim['scope']}." in text
    # What is said of the other dataset, or another method, alone is left out.
    first = text.partition("## 1. Use")[0]
    assert "beta: fewer than 30 test cases of square" in first
    assert "alpha" not in first and "lora_c" not in first


def plain(text: str) -> str:
    return re.sub(r"\\([\[\]|~*`#])", r"\1", text).replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize("ending", ["md", "html"])
def test_no_text_of_a_run_becomes_markup(unfinished: RunBuilder, tmp_path: Path, ending: str) -> None:
    card = unfinished.run.cards()["beta"]
    unfinished.run.write_card("beta", {**card, "licence": "<script>alert(1)</script> | [x](http://y) *z*"})
    out = tmp_path / f"card.{ending}"
    assert main([str(unfinished.run.path), "bn_affine@beta", "--out", str(out)]) == 0
    text = out.read_text()
    assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text
    assert "No model was kept" in text
    if ending == "md":
        assert r"\| \[x\](http://y) \*z\*" in text


@pytest.mark.parametrize(("cell", "out", "words"), [
    ("gapf@beta", "card.md", "'gapf' is none of the methods"),
    ("gpaf@beta:1000", "card.md", "a card is of one method on one dataset"),
    ("gpaf,bn_affine@beta", "card.md", "a card is of one method on one dataset"),
    ("lora_c@alpha", "card.md", "no confirm trial is done yet"),
    ("metalr@alpha", "card.md", "has not begun"),
    ("gpaf@beta", "card.pdf", "ends in neither .md nor .html"),
    ("gpaf@beta", "no/card.md", "there is no folder"),
    ("gpaf@beta", "RUN/card.md", "is inside the run directory"),
])  # fmt: skip
def test_a_card_that_cannot_be_takes_one_line(
    written_unfinished: RunBuilder, tmp_path: Path, cell: str, out: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = written_unfinished.run.path
    place = out.replace("RUN", str(run)) if "RUN" in out else str(tmp_path / out)
    one_error(main([str(run), cell, "--out", place]), capsys.readouterr().err, words)
    assert list(tmp_path.iterdir()) == []
