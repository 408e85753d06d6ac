"""An export that follows a sweep comes to what one export at the end comes to, however often it was ended."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from home import content, one_error
from tiny import environment, run_inline, sweep_command, tiny_sweep
from warm import EMPTY_FIGURES, warm

from harness.export.__main__ import main as export
from harness.export.addresses import sqlite_address
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder

EPOCHS, SLOTS, SEEDS = 3, 2, 2
TRIALS = SLOTS * SEEDS + 1
OPTUNA = {"optuna journal": "study.log", "optuna sqlite": "study.db"}
TIMES = ("_runtime", "_timestamp", "_wandb", "_wandb.runtime")
TARGETS = ["mlflow", "optuna journal", "optuna sqlite", "tensorboard", "wandb"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> RunDirectory:
    """A finished sweep of one method: two slots on two tuning seeds, and a confirm trial."""
    folder = tmp_path_factory.mktemp("finished")
    changes: dict[str, Any] = {"methods": ["linear_probe"], "train": {"epochs": EPOCHS, "image_size": 8}}
    search = {"trials": SLOTS, "seeds": [0, 1]}
    file = tiny_sweep(folder, **changes, search=search, confirm={"seeds": 1})
    run_inline(file, folder / "run", shared_cache, report=False)
    return RunDirectory(folder / "run")


def growing(finished: RunDirectory, folder: Path) -> tuple[RunDirectory, Iterator[str]]:
    """A planned copy of a finished run, and what brings it on, epoch by epoch, to what it was copied from."""
    whole, path = finished.path, folder / "run"
    shutil.copytree(whole, path, ignore=shutil.ignore_patterns("search", "confirm", "chosen.json"))
    (study,) = finished.studies()
    inside = study.path.relative_to(whole)

    def grow() -> Iterator[str]:
        for trial in (*study.trials("search"), *study.trials("confirm")):
            if trial.stage == "confirm" and not (path / inside / "chosen.json").exists():
                shutil.copy2(study.chosen_path, path / inside)
                yield "chosen"
            place = TrialFolder(path / trial.path.relative_to(whole), trial.stage)
            place.create()
            shutil.copy2(trial.request_path, place.path)
            yield "begun"
            for epoch in range(EPOCHS):
                place.write_curve(trial.curve()[: epoch + 1])
                yield "epoch"
            shutil.copy2(trial.result_path, place.path)
            yield "finished"

    return RunDirectory(path), grow()


def package(target: str) -> str:
    """The export of a target; the test is skipped where its library is missing."""
    name = target.partition(" ")[0]
    pytest.importorskip(name, reason=f"{name} is not installed")
    if name == "mlflow":
        pytest.importorskip("alembic", reason="mlflow has no database")
    return name


def destination(folder: Path, target: str) -> Path:
    return folder / OPTUNA.get(target, "out")


def shown(target: str, place: Path) -> Any:
    """All that a reader of the target's own library finds, apart from times."""
    return READERS[target](place)


def in_tensorboard(place: Path) -> Any:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = {}
    for folder in sorted({path.parent for path in place.rglob("*tfevents*")}):
        (file,) = folder.glob("*tfevents*")
        events = EventFileLoader(str(file)).Load()
        points = [(event.step, value) for event in events for value in event.summary.value]
        found[folder.relative_to(place).as_posix()] = [
            (step, value.tag, value.tensor.float_val[:] or value.simple_value) for step, value in points
        ]
    return found


def in_optuna(place: Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage: Any = (
        optuna.storages.RDBStorage(sqlite_address(place))
        if place.suffix == ".db"
        else optuna.storages.JournalStorage(JournalFileBackend(str(place)))
    )
    return {
        study.study_name: (
            study.user_attrs,
            [
                (one.number, one.state, one.values, one.params, one.user_attrs, one.intermediate_values)
                for one in storage.get_all_trials(study._study_id)
            ],
        )
        for study in storage.get_all_studies()
    }


def in_mlflow(place: Path) -> Any:
    from mlflow.entities import ViewType
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=sqlite_address(place))
    names = {one.experiment_id: one.name for one in client.search_experiments() if one.name != "Default"}
    # Runs that were deleted, too: none was replaced on the way.
    return sorted(
        (
            names[run.info.experiment_id],
            run.info.run_name,
            run.info.status,
            run.info.lifecycle_stage,
            run.data.params,
            {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")},
            {
                name: sorted((one.step, one.value) for one in client.get_metric_history(run.info.run_id, name))
                for name in run.data.metrics
            },
        )
        for run in client.search_runs(list(names), run_view_type=ViewType.ALL)
    )


def in_wandb(place: Path) -> Any:
    from wandb.proto.wandb_internal_pb2 import Record

    found = {}
    for file in (place / "wandb").glob("offline-run-*/*.wandb"):
        history, summary = [], {}
        for record in map(Record.FromString, records(file.read_bytes())):
            line, last = (
                {
                    name: item.value_json
                    for item in items
                    if (name := item.key or ".".join(item.nested_key)) not in TIMES
                }
                for items in (record.history.item, record.summary.update)
            )
            history += [line] if line else []
            summary |= last
        assert file.stem not in found, "one run for each trial"
        found[file.stem] = history, summary
    return found


def records(log: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB has it: blocks of 32 KiB, in which each piece has its length and its kind."""
    place, record = 7, b""
    while place + 7 <= len(log):
        if (1 << 15) - place % (1 << 15) < 7:
            place += (1 << 15) - place % (1 << 15)
        length, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        record += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


READERS: dict[str, Callable[[Path], Any]] = {
    "mlflow": in_mlflow,
    "optuna journal": in_optuna,
    "optuna sqlite": in_optuna,
    "tensorboard": in_tensorboard,
    "wandb": in_wandb,
}


def cut_off(target: str, place: Path) -> None:
    """Leave the destination as an export does that is killed while it writes."""
    if target == "tensorboard":
        for file in place.rglob("*tfevents*"):
            file.write_bytes(file.read_bytes()[:-7])
    elif target == "optuna journal":
        with place.open("ab") as journal:
            journal.write(b'{"op_code":5,"worker_')
    elif target == "wandb":
        min((place / "states").iterdir()).unlink()
    elif target == "mlflow":
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=sqlite_address(place))
        for run in client.search_runs([one.experiment_id for one in client.search_experiments()]):
            client.delete_tag(run.info.run_id, "gpaf_bench.state")


@pytest.mark.parametrize("target", TARGETS)
def test_following_comes_to_what_one_export_at_the_end_comes_to(
    finished: RunDirectory, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = package(target)
    place, once = destination(tmp_path, target), destination(tmp_path / "once", target)
    run, steps = growing(finished, tmp_path / "live")
    counted = []
    # Exports on the way, as a follower makes them that is started again each time.
    for number, _ in enumerate(steps):
        if number in (2, 6):
            assert export([str(run.path), "--to", name, str(place)]) == 0
            cut_off(target, place)
            counted.append(len(list(run.trials())))
        if number > 6:
            break
    assert counted == [1, 2]

    def go_on() -> None:
        for _ in steps:
            time.sleep(0.02)

    growth = threading.Thread(target=go_on)
    growth.start()
    capsys.readouterr()
    assert export([str(run.path), "--to", name, str(place), "--follow", "0.01"]) == 0
    growth.join()
    assert f": {TRIALS} trials" in capsys.readouterr().out

    assert export([str(finished.path), "--to", name, str(once)]) == 0
    live = shown(target, place)
    assert live == shown(target, once) and live
    for more in ([], ["--follow"]):
        assert export([str(run.path), "--to", name, str(place), *more]) == 0
        assert shown(target, place) == live
    assert not list(tmp_path.glob("*.exporting"))


@pytest.mark.parametrize("target", TARGETS)
def test_an_unfinished_trial_shows_its_curve_and_a_repeated_attempt_replaces_it(
    finished: RunDirectory, tmp_path: Path, target: str
) -> None:
    name = package(target)
    place, once = destination(tmp_path, target), destination(tmp_path / "once", target)
    run, steps = growing(finished, tmp_path / "live")
    # The first slot's trials on both seeds, up to the last epoch of the second.
    for _ in range(EPOCHS + 2 + 1 + EPOCHS):
        next(steps)
    *_, trial = run.studies()[0].trials("search")
    whole = trial.curve()
    other = [{**line, "val": dict.fromkeys(line["val"], 0.25)} for line in whole]
    before = content(run.path)
    assert export([str(run.path), "--to", name, str(place)]) == 0
    assert content(run.path) == before
    first = shown(target, place)
    last = [one.curve()[-1]["val"]["balanced_accuracy"] for one in run.trials()]
    assert str(fmean(last) if name == "optuna" else last[-1])[:6] in repr(first)
    # Another attempt resumes from an earlier epoch, and comes to other scores.
    trial.write_curve([whole[0], other[1]])  # type: ignore[list-item]
    for path in (place, once):
        assert export([str(run.path), "--to", name, str(path)]) == 0
    found, wanted = shown(target, place), shown(target, once)
    if target == "mlflow":
        # Its runs are never taken back, only marked as deleted.
        found = [run for run in found if run[3] != "deleted"]
    assert found == wanted != first


def test_following_a_real_sweep_that_is_killed_in_between(tmp_path: Path, shared_cache: Path) -> None:
    changes: dict[str, Any] = {
        "methods": ["linear_probe"],
        "train": {"epochs": 6, "image_size": 8, "precision": "fp32"},
    }
    file = tiny_sweep(
        tmp_path,
        **changes,
        search={"trials": 3, "seeds": [0]},
        confirm={"seeds": 1},
        launch={"kind": "local", "workers": 1, "threads": 1},
    )
    run, variables = RunDirectory(tmp_path / "run"), environment(shared_cache) | EMPTY_FIGURES
    place = tmp_path / "study.log"
    words = [sys.executable, "-m", "harness.export", str(run.path), "--to", "optuna", str(place), "--follow", "0.05"]

    def follow() -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(warm(words), env=variables, **pipes)

    with subprocess.Popen(warm(sweep_command(file, run.path)), env=variables, stderr=subprocess.DEVNULL) as sweep:
        try:
            wait_until(lambda: run.exists() and any(trial.has_request() for trial in run.trials()))
            with follow() as killed:
                wait_until(lambda: place.exists() and b"linear_probe" in place.read_bytes())
                killed.kill()
            assert killed.returncode == -signal.SIGKILL
            with follow() as second:
                out, err = second.communicate(timeout=120)
            assert second.returncode == 0, err
            assert out.startswith(f"{place}: 4 trials in 1 studies")
        finally:
            sweep.wait(timeout=120)
    assert sweep.returncode == 0
    once = tmp_path / "once.log"
    assert export([str(run.path), "--to", "optuna", str(once)]) == 0
    assert in_optuna(place) == in_optuna(once)
    whole = place.read_bytes()
    assert export([str(run.path), "--to", "optuna", str(place)]) == 0
    assert place.read_bytes() == whole


def test_ctrl_c_ends_following_with_a_whole_export(finished: RunDirectory, tmp_path: Path, shared_cache: Path) -> None:
    run, steps = growing(finished, tmp_path)
    for _ in range(4):
        next(steps)
    place = tmp_path / "study.log"
    words = [sys.executable, "-m", "harness.export", str(run.path), "--to", "optuna", str(place), "--follow"]
    with subprocess.Popen(
        warm(words), env=environment(shared_cache), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stderr is not None
        assert "1 trials exported; 0 of 5 finished" in follower.stderr.readline()
        # It is alone there, and what it has written can be read.
        assert export([str(run.path), "--to", "optuna", str(place)]) == 2
        assert len(in_optuna(place)[run.studies()[0].name][1]) == 1
        follower.send_signal(signal.SIGINT)
        out, err = follower.communicate(timeout=30)
    assert (follower.returncode, out) == (130, "") and "interrupted" in err and "Traceback" not in err
    assert export([str(run.path), "--to", "optuna", str(place)]) == 0


def test_what_cannot_follow_or_is_not_its_own_is_refused(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = export([str(finished.path), "--to", "csv", str(tmp_path / "t.csv"), "--follow"])
    one_error(code, capsys.readouterr().err, "--follow", "csv", "choose one of mlflow, optuna, tensorboard, wandb")
    with pytest.raises(SystemExit) as stop:
        export(["--follow", "0", str(finished.path), "--to", "optuna", str(tmp_path / "t.db")])
    assert stop.value.code == 2 and "number of seconds" in capsys.readouterr().err
    code = export([str(finished.path), "--to", "optuna", str(finished.path / "new" / "t.db")])
    one_error(code, capsys.readouterr().err, "inside the run directory")
    notes, journal, database = tmp_path / "notes", tmp_path / "notes.log", tmp_path / "notes.db"
    notes.mkdir()
    for path in (notes / "mine", journal, database):
        path.write_bytes(b"mine\n")
    for target, place in (("tensorboard", notes), ("wandb", notes), ("optuna", journal), ("optuna", database)):
        if target != "optuna":
            pytest.importorskip(target, reason=f"{target} is not installed")
        code = export([str(finished.path), "--to", target, str(place)])
        one_error(code, capsys.readouterr().err, str(place), "choose another place")
    assert [path.read_bytes() for path in (notes / "mine", journal, database)] == [b"mine\n"] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "notes.db", "notes.log"]


def test_a_study_of_somebody_else_stays_as_it_is(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import optuna

    place = tmp_path / "mine.db"
    study = optuna.create_study(storage=sqlite_address(place), study_name=finished.studies()[0].name)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    code = export([str(finished.path), "--to", "optuna", str(place)])
    one_error(code, capsys.readouterr().err, study.study_name, "not of run", "choose another place")
    assert len(in_optuna(place)[study.study_name][1]) == 1


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    ended = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ended, "too long"
        time.sleep(0.01)
