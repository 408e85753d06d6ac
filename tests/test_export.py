"""What other tools read in an export is what the run directory says."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from home import Home, one_error

from harness.export.__main__ import main as export
from harness.store import RunDirectory


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
