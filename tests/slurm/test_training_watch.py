"""Which disturbances count: those that struck a trial in training; needs no Slurm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from slurm import chaos
from slurm.disturbances import Chaos, Struck
from slurm.training_watch import JobAttempt, TrainingWatch, how_it_ended

EPOCHS = 3


class Trial:
    """A trial on the disk, as workers leave it."""

    def __init__(self, folder: Path) -> None:
        self.folder = TrialFolder(folder / "trial", "search")
        self.folder.path.mkdir()
        run = cast(RunDirectory, SimpleNamespace(trials=lambda: [self.folder]))
        self.watch = TrainingWatch(run, EPOCHS)

    def lease(self, number: int = 1, **facts: Any) -> None:
        content = {"slurm_job": "12_3", "slurm_restart": 1, "pid": os.getpid(), **facts}
        (self.folder.path / f"lease.{number:04d}").write_text(json.dumps(content))

    def epochs(self, count: int) -> None:
        self.folder.curve_path.write_text("{}\n" * count)

    def in_training(self) -> JobAttempt:
        self.lease()
        self.epochs(0)
        assert self.watch.look() == {}
        self.epochs(1)
        return self.watch.look()["12_3"]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_a_job_trains_while_its_curve_grows_and_is_not_whole(trial: Trial) -> None:
    assert trial.watch.look() == {}
    attempt = trial.in_training()
    assert (attempt.job, attempt.restart, attempt.number, attempt.pid) == ("12_3", 1, 1, os.getpid())
    assert trial.watch.trained("12_3", 1) == [attempt] and trial.watch.trained("12_3", 0) == []
    # The next attempt finds a curve, and has not trained for that.
    trial.lease(released="interrupted")
    trial.lease(2, slurm_restart=2)
    assert trial.watch.look() == {}
    trial.epochs(2)
    assert trial.watch.look()["12_3"].number == 2
    trial.epochs(EPOCHS)
    assert trial.watch.look() == {}


def test_how_an_attempt_ended(trial: Trial) -> None:
    attempt = trial.in_training()
    assert how_it_ended(attempt) is None
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    trial.lease(pid=process.pid)
    assert trial.watch.look() == {}, "another process is another attempt"
    assert how_it_ended(JobAttempt(attempt.trial, 1, process.pid, "12_3", 1)) == "died"
    trial.lease(2)
    assert how_it_ended(attempt) == "succeeded"
    for reason in ("interrupted", "finished"):
        trial.lease(released=reason)
        assert how_it_ended(attempt) == reason


def test_a_strike_that_came_after_the_last_epoch_is_none(trial: Trial) -> None:
    attempt = trial.in_training()
    assert trial.watch.was_training(attempt, time.time())
    trial.epochs(EPOCHS)
    assert trial.watch.was_training(attempt, time.time() - 60)
    assert not trial.watch.was_training(attempt, time.time() + 60)


def disturbed(trial: Trial) -> Chaos:
    """The account of a run; nothing is done to a cluster."""
    no: Any = None
    return Chaos(no, no, [], {}, no, [], 2, trial.watch)


def test_what_was_struck_counts_once_its_attempt_has_ended_otherwise(trial: Trial) -> None:
    account, attempt = disturbed(trial), trial.in_training()
    said: list[str] = []

    def strike(kind: str, seconds: float = 60.0) -> None:
        account._struck.append(Struck(kind, attempt, time.time(), time.monotonic() + seconds))
        account._judge(said.append)

    strike("preempted")
    assert said == [] and not account.hits
    trial.lease(released="interrupted")
    account._judge(said.append)
    assert account.hits == {"preempted": 1} and said == ["1 hits: preempted"]
    # One that ended first has shown nothing, and neither has one without any effect.
    trial.lease(released="finished")
    strike("requeued by hand")
    trial.lease()
    strike("job killed", seconds=-1.0)
    assert account.misses == {"requeued by hand": 1, "job killed": 1} and account.hits.total() == 1
    # Training goes on while the controller is away.
    strike("controller restarted")
    assert account.hits == {"preempted": 1, "controller restarted": 1}


def test_a_time_limit_may_strike_the_next_trial_of_the_job(trial: Trial, tmp_path: Path) -> None:
    account, attempt = disturbed(trial), trial.in_training()
    account._struck.append(Struck("time limit", attempt, time.time(), time.monotonic() + 60))
    trial.lease(released="finished")
    account._judge(lambda text: None)
    assert not account.hits and not account.misses
    trial.lease(2)
    trial.watch.look()
    trial.epochs(2)
    trial.watch.look()
    trial.lease(2, released="interrupted")
    account._judge(lambda text: None)
    assert account.hits == {"time limit": 1}


@pytest.mark.parametrize(
    ("hits", "differences", "code", "last"),
    [
        ({"preempted": 2}, [], 0, "no difference to the undisturbed run"),
        ({"preempted": 1}, [], 1, "the sweep ended before 2 disturbances hit"),
        ({}, [], 1, "no disturbance hit a trial in training, so this run proves nothing"),
        ({"preempted": 2}, ["a: results differ"], 1, "1 differences to the undisturbed run"),
    ],
)
def test_a_run_that_was_not_hit_proves_nothing(
    hits: dict[str, int],
    differences: list[str],
    code: int,
    last: str,
    trial: Trial,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(chaos, "repeated_work", lambda run: [])
    monkeypatch.setattr(chaos, "run_differences", lambda first, second: differences)
    account = disturbed(trial)
    account.run = cast(RunDirectory, SimpleNamespace(trials=list))
    account.hits, account.misses = Counter(hits), Counter({"node lost": 3})
    assert chaos._compare(account.run, account, wanted=2) == code
    said = capsys.readouterr().out
    assert f"{sum(hits.values())} disturbances hit a trial in training (" in said
    assert "3 others hit none (node lost 3)" in said and last in said.splitlines()[-1]
