"""What other tools read in an export is what the run directory says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from home import Home, one_error

from harness.core.extras import install
from harness.export.__main__ import main as export
from harness.export.addresses import sqlite_address
from harness.export.contract import Export, ExportedRun
from harness.export.trials import trials_of
from harness.plugins import of_folders
from harness.proof.export_conformance import export_problems
from harness.run.directory import RunDirectory


@pytest.mark.parametrize("target", ["csv", "parquet"])
def test_a_table_has_a_row_for_each_trial(home: Home, target: str) -> None:
    place = home.path / f"trials.{target}"
    assert export([str(home.run), "--to", target, str(place)]) == 0
    frame = pl.read_csv(place) if target == "csv" else pl.read_parquet(place)
    trials = list(RunDirectory(home.run).trials())
    assert len(frame) == len(trials) == 2
    asked = trials[0].request()["hyperparameters"]
    assert frame["hp_head_lr"].to_list() == [asked["head_lr"]] * 2


@pytest.mark.parametrize("name", ["study.db", "study.log"])
def test_optuna_opens_the_studies(home: Home, name: str) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    place = home.path / name
    assert export([str(home.run), "--to", "optuna", str(place)]) == 0
    storage = (
        optuna.storages.RDBStorage(f"sqlite:///{place}")
        if place.suffix == ".db"
        else optuna.storages.JournalStorage(JournalFileBackend(str(place)))
    )
    study = optuna.load_study(study_name=home.study.name, storage=storage)
    chosen = json.loads((home.study / "chosen.json").read_text())
    assert study.best_value == chosen["value"] and study.best_trial.number == chosen["slot"]
    assert all(study.best_params[name] == chosen["hyperparameters"][name] for name in study.best_params)
    curve = RunDirectory(home.run).study(home.study.name).trials("search")[0].curve()
    assert list(study.best_trial.intermediate_values.values()) == [line["val"]["balanced_accuracy"] for line in curve]


def test_tensorboard_reads_the_curves(home: Home) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    place = home.path / "events"
    assert export([str(home.run), "--to", "tensorboard", str(place)]) == 0
    (trial,) = RunDirectory(home.run).study(home.study.name).trials("search")
    events = EventAccumulator(str(place / home.study.name / "search" / trial.name))
    events.Reload()
    wanted = [(line["step"], pytest.approx(line["val"]["balanced_accuracy"])) for line in trial.curve()]
    assert [(one.step, one.value) for one in events.Scalars("val/balanced_accuracy")] == wanted


def test_nothing_is_written_over(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    place: Path = home.path / "trials.csv"
    place.write_text("mine")
    code = export([str(home.run), "--to", "csv", str(place)])
    one_error(code, capsys.readouterr().err, "trials.csv", "exists already")
    assert place.read_text() == "mine"


def mlflow_runs(place: Path) -> dict[str, Any]:
    """Name → run of MLflow, of every experiment in a store."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=sqlite_address(place))
    experiments = [one.experiment_id for one in client.search_experiments() if one.name != "Default"]
    return {run.info.run_name: run for run in client.search_runs(experiments)}


def test_mlflow_stamps_each_epoch_with_its_own_time_and_a_second_export_doubles_nothing(home: Home) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("alembic", reason="mlflow has no database")
    from mlflow.tracking import MlflowClient

    result = json.loads((home.search_trial / "result.json").read_text())
    (ended,) = result["time"]["epoch_ends"]
    assert result["time"]["started"] < ended < result["time"]["ended"]
    place = home.path / "runs.db"
    assert export([str(home.run), "--to", "mlflow", str(place)]) == 0
    first = mlflow_runs(place)
    assert len(first) == 2
    run = first["search 0000-s0"]
    history = MlflowClient(tracking_uri=sqlite_address(place)).get_metric_history(
        run.info.run_id, "val/balanced_accuracy"
    )
    assert [(one.step, one.timestamp) for one in history] == [(result["steps"], round(1000 * ended))]

    assert export([str(home.run), "--to", "mlflow", str(place)]) == 0
    assert {name: one.info.run_id for name, one in mlflow_runs(place).items()} == {
        name: one.info.run_id for name, one in first.items()
    }
    # What has changed is written again, in the place of the old one.
    (home.search_trial / "result.json").write_text(json.dumps({**result, "status": "failed"}))
    assert export([str(home.run), "--to", "mlflow", str(place)]) == 0
    last = mlflow_runs(place)
    assert len(last) == 2 and last["search 0000-s0"].info.status == "FAILED"


def test_mlflow_writes_into_nothing_but_its_own_store(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    for name, content in (("notes.db", b"mine"), ("empty.db", b"")):
        place = home.path / name
        place.write_bytes(content)
        code = export([str(home.run), "--to", "mlflow", str(place)])
        one_error(code, capsys.readouterr().err, name, "no store of MLflow")
        assert place.read_bytes() == content


def test_wandb_gives_a_trial_the_same_id_in_every_export(home: Home) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    ids = []
    for name in ("once", "again"):
        assert export([str(home.run), "--to", "wandb", str(home.path / name)]) == 0
        folders = sorted((home.path / name / "wandb").glob("offline-run-*"))
        ids.append(sorted(folder.name.rpartition("-")[2] for folder in folders))
    assert ids[0] == ids[1] and len(set(ids[0])) == 2


def test_a_trial_is_itself_in_every_export_and_another_where_its_code_is(home: Home) -> None:
    (trial,) = [one for one in trials_of(RunDirectory(home.run).study(home.study.name)) if one.stage == "search"]
    assert trial.stable_id == replace(trial, curve=[], result=None).stable_id
    assert trial.state != replace(trial, result=None).state
    assert trial.stable_id != replace(trial, request={**trial.request, "identity": "f00d"}).stable_id
    assert trial.stable_id != replace(trial, name="0001-s0").stable_id
    # A result of an earlier version knows no times of epochs: the end stands for all.
    old = {**(trial.result or {}), "time": {"started": 1.0, "ended": 5.0}}
    assert replace(trial, result=old).epoch_ends == [5.0] * len(trial.curve)


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    assert install("timm") == "pip install 'timm>=1.0'"
    assert install("export", "mlflow") == "pip install 'mlflow>=3.0'"
    assert install("export", "alembic").startswith("pip install 'mlflow>=3.0' ")


JSON_LINES = '''
"""One JSON line a trial."""

import json
from pathlib import Path

from harness.api import Export, ExportedRun


class JsonLines(Export):
    """One JSON line a trial.

    Keys: study, stage, seed, and the final scores.
    """

    name = "json_lines"
    repeatable = True

    def write(self, run: ExportedRun, destination: Path) -> str:
        lines = [
            json.dumps({"study": trial.study, "stage": trial.stage, "seed": trial.request["seed"], **trial.scores()})
            for trial in run.trials()
        ]
        destination.write_text("".join(f"{line}\\n" for line in lines))
        return f"{destination}: {len(lines)} trials of {run.name}"
'''


def user_export(folder: Path, text: str = JSON_LINES, name: str = "json_lines.py") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_a_users_export_is_one_file_that_is_named_by_its_folder(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    folder, place = user_export(home.path / "mine"), home.path / "trials.jsonl"
    assert export([str(home.run), "--plugins", str(folder), "--to", "json_lines", str(place)]) == 0
    assert capsys.readouterr().out == f"{place}: 2 trials of run\n"
    lines = [json.loads(line) for line in place.read_text().splitlines()]
    result = json.loads((home.search_trial / "result.json").read_text())
    assert [line["stage"] for line in lines] == ["search", "confirm"]
    assert lines[0]["val/balanced_accuracy"] == result["metrics"]["val"]["balanced_accuracy"]
    # The run names a folder of plugins too, and nothing in it is run for that.
    user_export(home.plugin.parent, "raise SystemExit('this must not run')\n", "trap.py")
    assert export([str(home.run), "--to", "csv", str(home.path / "t.csv")]) == 0


def test_exports_are_listed_with_their_help_and_a_misspelt_name_gets_a_suggestion(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = user_export(home.path / "mine")
    for words, told in (
        ([], "csv  One row a trial"),
        (["--plugins", str(folder)], "json_lines  One JSON line a trial."),
    ):
        with pytest.raises(SystemExit) as stop:
            export(["--help", *words])
        assert stop.value.code == 0 and told in re.sub("  +", "  ", capsys.readouterr().out)
    with pytest.raises(SystemExit):
        export(["--plugins", str(folder), "--to", "json_lines", "--help"])
    assert "Keys: study, stage, seed, and the final scores." in capsys.readouterr().out
    for words, wrong in (([], "cvs"), (["--plugins", str(folder)], "jsonlines")):
        code = export([str(home.run), *words, "--to", wrong, str(home.path / "x")])
        one_error(code, capsys.readouterr().err, "no export is called", "did you mean")


def test_an_export_that_fails_is_one_line_with_its_place_and_leaves_nothing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = JSON_LINES.replace('return f"', 'raise KeyError("seed"); f"')
    folder, place = user_export(home.path / "mine", broken), home.path / "new" / "trials.jsonl"
    code = export([str(home.run), "--plugins", str(folder), "--to", "json_lines", str(place)])
    line = broken[: broken.index("raise KeyError")].count("\n") + 1
    one_error(code, capsys.readouterr().err, "json_lines.py", f"line {line}: KeyError: 'seed'")
    assert not place.parent.exists()


SUFFIXES = {"optuna": (".log", ".db")}


@pytest.mark.parametrize("name", sorted(of_folders(()).all(Export)))
def test_every_built_in_export_keeps_to_the_contract(home: Home, tmp_path: Path, name: str) -> None:
    package = {"csv": "polars", "parquet": "polars"}.get(name, name)
    pytest.importorskip(package, reason=f"{package} is not installed")
    if name == "mlflow":
        pytest.importorskip("alembic", reason="mlflow has no database")
    cls = of_folders(()).all(Export)[name].cls
    run = RunDirectory(home.copy(tmp_path / "a run?%41{y} 'ß").run)
    for number, suffix in enumerate(SUFFIXES.get(name, ("",))):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert export_problems(cls, run, folder, suffix) == []


def test_the_conformance_suite_notices_what_an_export_breaks(home: Home, tmp_path: Path) -> None:
    class Careless(Export):
        """Keeps to nothing."""

        name = "careless"
        repeatable = True
        written = 0

        def write(self, run: ExportedRun, destination: Path) -> str:
            Careless.written += 1
            destination.with_name("stray").write_text("")
            destination.write_text(str(Careless.written))
            (run.directory.path / "note").write_text("mine")
            return "two\nlines"

    folder = tmp_path / "exports"
    folder.mkdir()
    # Each of the two exports says two lines and leaves a stray file.
    assert len(export_problems(Careless, RunDirectory(home.run), folder)) == 6
