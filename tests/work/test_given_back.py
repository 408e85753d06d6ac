"""A claim is given back when what follows it fails: its owner lives on, and would keep the trial from all others."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import Digits, job

from harness.core.lease import LeaseLost
from harness.core.many_files import each
from harness.run.trial import TrialFolder
from harness.train.checkpoint import CheckpointWriter, load_checkpoint
from harness.work import running
from harness.work.claims import ClaimedTrial
from harness.work.running import run_claimed


def no_thread(*given: Any) -> None:
    raise RuntimeError("can't start new thread")


@pytest.fixture
def taken(digits: Digits, tmp_path: Path) -> ClaimedTrial:
    trial = TrialFolder(tmp_path / "trial", "search")
    lease = trial.claim(progress=0)
    assert lease is not None
    request = {"hyperparameters": {}, "seed": 5, "threads": 1}
    folder = trial.held(lease)
    folder.write_request(request)
    return ClaimedTrial(folder, lease, request, job(digits, "linear_probe", stage="search"), "a trial")


@pytest.mark.parametrize("broken", ["note", "log", "thread"])
def test_a_trial_whose_training_cannot_begin_is_given_back(
    broken: str, taken: ClaimedTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **more: Any) -> None:
        raise OSError(errno.EIO, "broken")

    if broken == "thread":
        monkeypatch.setattr(threading.Thread, "start", no_thread)
    elif broken == "log":
        monkeypatch.setattr(running.logging, "FileHandler", refuse)
    else:
        monkeypatch.setattr(running, "own_snapshot", refuse)
    with pytest.raises(OSError) as caught:
        run_claimed(taken, torch.device("cpu"), threading.Event())
    assert caught.value.errno == (errno.EAGAIN if broken == "thread" else errno.EIO)
    monkeypatch.undo()
    assert taken.folder.claim(progress=0) is not None


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_claim_whose_second_look_fails_is_given_back(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, looks = TrialFolder(tmp_path / "trial", "search"), [False, OSError(number, "broken")]

    def look(self: TrialFolder) -> bool:
        answer = looks.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(TrialFolder, "finished", property(look))
    with pytest.raises(OSError):
        trial.claim(progress=0)
    monkeypatch.undo()
    assert trial.claim(progress=0) is not None


def test_a_lost_lease_is_told_before_the_training_too(taken: ClaimedTrial) -> None:
    taken.folder.path.joinpath("lease.0002").write_text("{}")
    with pytest.raises(LeaseLost):
        taken.folder.write_curve([])


def test_without_a_thread_a_checkpoint_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    writer = CheckpointWriter(tmp_path / "checkpoint.pt")
    writer.submit(lambda: {"at": 3})
    writer.wait()
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None and state["at"] == 3


@pytest.mark.parametrize("most", [0, 3])
def test_with_few_threads_or_none_everything_is_looked_at(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.core.many_files.SLOW_SECONDS", 0.0)
    start, started = threading.Thread.start, []

    def limited(self: threading.Thread) -> None:
        if len(started) == most:
            no_thread()
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    assert each(lambda item: item + 1, list(range(500))) == list(range(1, 501))
