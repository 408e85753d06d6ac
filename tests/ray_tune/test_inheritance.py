"""A trial that takes over another one's state is the trial that followed the same schedule from its first epoch on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jobs import job, run

from harness.ray.inheritance import give, inherit
from harness.run.trial import TrialFolder
from harness.train.job import Control, Interrupted
from harness.work.claims import ClaimedTrial

if TYPE_CHECKING:
    from jobs import Digits


@pytest.mark.parametrize("method", ["lora_c", "linear_probe"])
def test_a_schedule_followed_alone_gives_what_was_inherited(digits: Digits, tmp_path: Path, method: str) -> None:
    first = job(digits, method, train={"epochs": 4})
    parent = _until(first, 2, tmp_path / "0003-s5")
    (tmp_path / "given").mkdir()
    give(parent, 3, tmp_path / "given")
    changed = {**first.hyperparameters, "head_lr": 0.05}
    child = TrialFolder(tmp_path / "0007-s5", "confirm")
    child.create()
    lease = child.claim()
    assert lease is not None
    inherit(ClaimedTrial(child, lease, {}, first, "child"), 7, changed, tmp_path / "given")

    folder, taken_over = run(replace(first, hyperparameters={**changed, "head_lr": 0.3}), child.path)
    schedule = taken_over["schedule"]
    assert [(change["epoch"], change["from"]["slot"]) for change in schedule] == [(0, 3), (2, 3)]
    assert schedule[0]["hyperparameters"] == first.hyperparameters and schedule[1]["hyperparameters"] == changed
    assert folder.schedule() == schedule

    alone, followed = run(replace(first, schedule=tuple(schedule)), tmp_path / "alone")
    assert followed["metrics"] == taken_over["metrics"] and alone.curve() == folder.curve()
    assert alone.predictions().equals(folder.predictions())

    # Killed after the change and resumed, it still follows its schedule.
    half = _until(replace(first, schedule=tuple(schedule)), 3, tmp_path / "half")
    _, resumed = run(replace(first, schedule=tuple(schedule)), half.path)
    assert resumed["metrics"] == followed["metrics"]

    plain, _ = run(first, tmp_path / "plain")
    assert plain.curve()[:2] == folder.curve()[:2] and plain.curve()[2:] != folder.curve()[2:]


def _until(made: Any, epochs: int, path: Path) -> TrialFolder:
    """Train so many epochs and stop, with a checkpoint."""
    stop = threading.Event()

    def judge(total: int, step: int, scores: Sequence[float]) -> None:
        if len(scores) == epochs:
            stop.set()

    with pytest.raises(Interrupted):
        run(made, path, Control(stop=stop, judge=judge))
    return TrialFolder(path, "confirm")
