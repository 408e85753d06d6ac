"""Killed anywhere, a sweep ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import chaos, tiny_sweep

from harness.store import RunDirectory


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_sweep_killed_five_times_ends_bit_identically(tmp_path: Path) -> None:
    source = {
        "method": "full_finetune",
        "dataset": {"dataset": "digits", "classes": [0, 1, 2]},
        "train": {"epochs": 10},
    }
    file = tiny_sweep(
        tmp_path,
        backbone={"name": "resnet20", "weights": source},
        methods=["lora_c"],
        train={"epochs": 20, "batch_size": 32, "image_size": 12},
        search={"trials": 4, "startup": 2, "concurrency": 2},
    )
    done = chaos(file, tmp_path / "cache", "--kills", "5", "--pause", "3", "--work-dir", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 workers killed: no difference" in done.stdout or "6 workers killed: no difference" in done.stdout
    # It was worth something: trials were taken over by other workers, some from a checkpoint.
    disturbed = [RunDirectory(path) for path in (tmp_path / "runs").glob("disturbed*")]
    trials = [trial for run in disturbed for trial in run.trials()]
    assert sum(len(trial.attempts()) - 1 for trial in trials) >= 2
    assert any("resumed after" in trial.log_path.read_text() for trial in trials)
