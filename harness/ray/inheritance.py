"""One slot continues from another one's state, under other hyperparameters; population-based training does that.

What was inherited is in the checkpoint itself, so that state and schedule cannot come apart when the process is killed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.core.files import read_json, write_json
from harness.run.trial import TrialFolder
from harness.run.trial_records import ScheduleLine
from harness.space.parameters import Value
from harness.train.checkpoint import load_checkpoint, write_checkpoint
from harness.work.claims import ClaimedTrial


def give(trial: TrialFolder, slot: int, folder: Path) -> None:
    """Copy a trial's checkpoint, with what is to be known of it, into a folder."""
    shutil.copyfile(trial.checkpoint_path, folder / "state.pt")
    write_json(folder / "slot.json", {"slot": slot, "hyperparameters": trial.request()["hyperparameters"]})


def inherit(taken: ClaimedTrial, slot: int, hyperparameters: Mapping[str, Value], folder: Path) -> None:
    """Let a claimed trial go on from what ``give`` has put into a folder.

    Args:
        taken: a trial of ``slot``.
        slot: the slot.
        hyperparameters: under which it goes on.
        folder: what ``give`` has filled.
    """
    given = read_json(folder / "slot.json", ("slot", "hyperparameters"))
    if given["slot"] == slot:
        return  # it was only paused, and its own folder has it all
    state = load_checkpoint(folder / "state.pt")
    assert state is not None
    progress = state["progress"]
    epoch = int(progress["epoch"])
    first: ScheduleLine = {
        "epoch": 0,
        "hyperparameters": given["hyperparameters"],
        "from": {"slot": given["slot"], "epoch": 0},
    }
    change: ScheduleLine = {
        "epoch": epoch,
        "hyperparameters": dict(hyperparameters),
        "from": {"slot": given["slot"], "epoch": epoch},
    }
    progress["schedule"] = [*(progress.get("schedule") or [first]), change]
    write_checkpoint(taken.folder.checkpoint_path, state, taken.folder.fence)
