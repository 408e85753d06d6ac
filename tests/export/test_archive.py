"""An archive holds what a paper's artefact needs, the same bytes each time, and tells when it was changed."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from home import Home, one_error

from harness.export.archive import main as archive


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_same_run_same_bytes_and_no_checkpoint(home: Home, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    (home.search_trial / "checkpoint.pt").write_bytes(b"weights")
    packed = [home.path / f"{name}{ending}" for name in ("first", "second")]
    for out in packed:
        assert archive([str(home.run), "--out", str(out)]) == 0
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert archive(["--verify", str(packed[0])]) == 0
    assert "verified" in capsys.readouterr().out
    if ending == ".zip":
        with zipfile.ZipFile(packed[0]) as whole:
            names = set(whole.namelist())
    else:
        with tarfile.open(packed[0]) as tar:
            names = set(tar.getnames())
    trial = home.search_trial.relative_to(home.run).as_posix()
    confirmed = home.confirm_trial.relative_to(home.run).as_posix()
    wanted = {f"{trial}/result.json", f"{trial}/curve.jsonl", f"{confirmed}/predictions.parquet", "report/report.html"}
    assert wanted | {"spec.json", "environment.json", "splits/zero_one.json"} <= names
    assert not any(name.endswith(".pt") for name in names)


def test_what_was_changed_is_named(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    out, changed = home.path / "run.zip", home.path / "changed.zip"
    assert archive([str(home.run), "--out", str(out)]) == 0
    result = home.search_trial.relative_to(home.run).as_posix() + "/result.json"
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            if name == result:
                better = json.loads(old.read(name)) | {"steps": 1}
                new.writestr(name, json.dumps(better))
            elif name != "spec.json":
                new.writestr(name, old.read(name))
        new.writestr("added.txt", "more")
    capsys.readouterr()
    assert archive(["--verify", str(changed)]) == 1
    printed = capsys.readouterr().out
    assert {f"{result}: changed", "spec.json: missing", "added.txt: not in the manifest"} <= set(printed.splitlines())


def test_what_is_no_archive_is_refused(tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.tar.gz"
    assert archive([str(home.run), "--out", str(cut)]) == 0
    cut.write_bytes(cut.read_bytes()[:1000])
    capsys.readouterr()
    one_error(archive(["--verify", str(cut)]), capsys.readouterr().err, "cut.tar.gz", "damaged")
    one_error(archive([str(home.run), "--out", str(tmp_path / "run.rar")]), capsys.readouterr().err, ".zip or .tar.gz")
