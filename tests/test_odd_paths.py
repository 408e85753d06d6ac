"""A path is a path: no command takes one for a pattern, an address, a format or an option."""

from __future__ import annotations

import ast
import re
import shutil
import sqlite3
from pathlib import Path

import polars as pl
import pytest
from home import Home
from tiny import ROOT

from analysis.report import main as report
from harness.core import frame_files
from harness.doctor.__main__ import main as doctor
from harness.export.__main__ import main as export
from harness.export.archive import main as archive
from harness.run.directory import RunDirectory

FEW = ("w[1]", "what?", "e%20f", "%s %(x)d {0} {name}", "it's", "two\nlines", "-rf", "[red]x[/red]")
MANY = (
    "[!a]", "a*b", "100%", "#1", 'say "so"', "Grüße é", "--help", "x" * 200, "  two  blanks ", "dot.", "back\\slash",
    "~", "$HOME", "a:b", "a;b&c|d", "(a) <b>", "sqlite:", "\x1b[31m", "file:x", "a+b=c,d@e",
)  # fmt: skip
"""Names that some reader of paths takes for something else; the many are tried where the slow proofs are."""


@pytest.fixture(params=[*FEW, *(pytest.param(name, marks=pytest.mark.large) for name in MANY)], ids=ascii)
def odd(request: pytest.FixtureRequest, home: Home) -> Path:
    """A copy of the finished run at an odd place, where the folder above has an odd name too."""
    run = home.path / str(request.param) / "in" / str(request.param)
    shutil.copytree(home.run, run)
    return run


def test_a_healthy_run_is_healthy_everywhere(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(["--", str(odd)]) == 0
    assert "healthy: nothing is wrong" in capsys.readouterr().out
    before = sorted(odd.rglob("*"))
    assert doctor(["--fix", "--", str(odd)]) == 0
    assert [path for path in odd.rglob("*") if "set_aside" in path.parts] == [] and before
    (trial,) = RunDirectory(odd).studies()[0].trials("confirm")
    assert trial.predictions().height > 0


def test_every_export_is_where_it_was_asked_for(odd: Path, home: Home) -> None:
    name = odd.name[:190]
    for target, ending in (("csv", ".csv"), ("parquet", ".parquet"), ("optuna", ".log"), ("optuna", ".db")):
        folder = home.path / "out" / target / ending
        place = folder / f"{name}{ending}"
        assert export(["--to", target, "--", str(odd), str(place)]) == 0
        assert place in list(folder.iterdir()), f"{target} wrote {list(folder.iterdir())}"
        if ending == ".db":
            with sqlite3.connect(place) as opened:
                assert opened.execute("select count(*) from trials").fetchone() == (1,)


@pytest.mark.parametrize("name", ["w[1] 100%", *(pytest.param(one, marks=pytest.mark.large) for one in (*FEW, *MANY))])
def test_the_report_of_an_odd_run_is_the_same(name: str, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    run = home.path / name / "in" / name
    shutil.copytree(home.run, run)
    out = run.parent / f"out {name[:190]}"
    for arguments, folder in (["--", str(run)], run / "report"), (["--out", str(out), "--", str(run)], out):
        assert report(arguments) == 0, capsys.readouterr().err
        for file in ("scores.csv", "ledger.csv"):
            tables = [next(place.rglob(file)).read_text() for place in (home.run / "report", folder)]
            assert tables[0] == tables[1]


def test_the_archive_of_an_odd_run_verifies(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ending in (".zip", ".tar.gz"):
        out = odd.parent / f"{odd.name[:190]}{ending}"
        assert archive(["--out", str(out), "--", str(odd)]) == 0
        assert archive([f"--verify={out}"]) == 0
        assert "verified" in capsys.readouterr().out


def test_a_run_beside_another_is_not_read_in_its_place(home: Home) -> None:
    shutil.copytree(home.run, home.path / "w1")
    shutil.copytree(home.run, home.path / "w[1]")
    (theirs,) = RunDirectory(home.path / "w1").studies()[0].trials("confirm")
    (own,) = RunDirectory(home.path / "w[1]").studies()[0].trials("confirm")
    theirs.write_predictions(theirs.predictions().with_columns(case_id=pl.lit("theirs")))
    assert "theirs" not in own.predictions()["case_id"].to_list()


@pytest.mark.parametrize("name", ["w[1]", "a*b", "100%", "~"])
def test_frames_come_back_from_odd_places(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"case_id": ["a", "b"], "logit_0": [0.5, None]})
    folder = tmp_path / name
    folder.mkdir()
    for ending, read in ((".parquet", frame_files.read_parquet), (".arrow", frame_files.read_ipc)):
        path = folder / f"{name}{ending}"
        with path.open("wb") as stream:
            frame.write_parquet(stream) if ending == ".parquet" else frame.write_ipc(stream)
        assert read(path).equals(frame)


def test_polars_opens_no_path_elsewhere() -> None:
    """A path that polars opens itself is a pattern: only ``frame_files``, and foreign tables without patterns, may."""
    found = set()
    folders = [ROOT / name for name in ("harness", "analysis", "methods", "datasets")]
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and re.fullmatch(r"(pl|polars)\.(read|scan)_\w+", ast.unparse(node.func)):
                words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                found |= {(path.name, ast.unparse(node.func))} if words.get("glob") != "False" else set()
    assert found == {("frame_files.py", "pl.read_parquet"), ("frame_files.py", "pl.read_ipc")}
