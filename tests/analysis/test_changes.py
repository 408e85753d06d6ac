"""What changed between two reports is told from their results alone, and nothing else is claimed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from home import Home

from analysis.changes import main
from analysis.comparison.compare import analyse
from analysis.comparison_results import comparison_records
from analysis.results import VERSION
from tests.analysis.made_up import made_up


def report(folder: Path, levels: dict[str, float], **more: Any) -> Path:
    """A report folder with nothing but results."""
    folder.mkdir()
    evidence = made_up(levels, family="vs_control", control="control")
    document = {"version": VERSION, "name": "study", "comparison": comparison_records(analyse(evidence)), **more}
    (folder / "results.json").write_text(json.dumps(document))
    return folder


def outcomes(folder: Path) -> dict[tuple[str | None, str], str]:
    found = json.loads((folder / "results.json").read_text())["comparison"]["comparisons"]
    return {(one["dataset"], one["a"]): one["outcome"] for one in found if one["role"] in ("primary", "average")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("reports")
    cards = [{"alpha": {"fingerprint": name}} for name in ("a" * 64, "b" * 64)]
    return (
        report(folder / "before", {"control": 1.0, "same": 1.2, "gpaf": 1.0, "left": 1.1},
               datasets=cards[0], spec={"train": {"epochs": 3}}),
        report(folder / "after", {"control": 1.0, "same": 1.2, "gpaf": 3.0, "new_<b>": 1.1},
               datasets=cards[1], spec={"train": {"epochs": 5}}),
    )  # fmt: skip


def test_other_verdicts_are_told_first_and_what_one_report_lacks_is_named(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder) for folder in folders]) == 0
    told = capsys.readouterr().out.splitlines()
    old, new = map(outcomes, folders)
    other = {key for key in old.keys() & new.keys() if old[key] != new[key]}
    assert other and {name for _, name in other} == {"gpaf"}
    for (dataset, name), line in zip(sorted(other, key=list(new).index), told, strict=False):
        place = dataset or "average over the datasets"
        assert line == f"{name} - control, {place}: {old[dataset, name]} before, {new[dataset, name]} now"
    both = len(old.keys() & new.keys())
    assert told[len(other)].startswith(f"{len(other)} of {both} verdicts that both reports have are other ones")
    assert any(line.startswith("left - control, ") and line.endswith(", only before") for line in told)
    assert any(line.startswith("new_<b> - control, ") and line.endswith(", only now") for line in told)
    assert told[-1] == "alpha: the images or labels are others, so scores on it are not of the same test cases."


@pytest.mark.parametrize("ending", ["html", "md"])
def test_the_page_has_every_change_and_escapes_names(
    ending: str, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"changes.{ending}"
    assert main([*map(str, folders), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    page = out.read_text()
    assert "train.epochs: 3 → 5" in page.replace("\\", "").replace("&gt;", ">")
    assert "has no interval" in page and "another outcome" in page and "only before" in page
    assert "new_<b>" not in page


def test_a_report_beside_itself_has_no_change(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(home.run), str(home.run / "report")]) == 0
    assert capsys.readouterr().out.startswith("0 of 0 verdicts that both reports have are other ones; 0 are the same")


def test_what_is_no_report_is_refused_in_one_line(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = folders
    (tmp_path / "old.json").write_text(json.dumps({"version": 1, "comparison": {}}))
    (tmp_path / "other.json").write_text(json.dumps({"version": VERSION, "comparison": {"plan": 1}}))
    (tmp_path / "own.json").write_text("{}")
    for path, words in (
        (tmp_path / "nowhere", "there is no report"),
        (tmp_path, "there is no report"),
        (tmp_path / "old.json", "version 1, and this program reads 2"),
        (tmp_path / "other.json", "write the report anew"),
        (tmp_path / "own.json", "is not the results.json of a report"),
    ):
        assert main([str(before), str(path)]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and words in error
    assert main([str(before), str(before), "--out", str(tmp_path / "page.txt")]) == 2
    assert main([str(before), str(before), "--out", str(before / "page.md")]) == 2
