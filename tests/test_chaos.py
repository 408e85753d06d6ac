"""Killed anywhere, a sweep ends as if nothing had happened; and the command that shows it can tell when not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import environment, tiny_sweep

from harness.store import RunDirectory

FORGETFUL = '''"""A method that keeps state outside the checkpoint."""

import torch

from harness.method import Method, optimiser_space
from harness.space import Float


class Forgetful(Method):
    """Scale the loss by a count of the steps since the process began."""

    name = "forgetful"
    space = optimiser_space(Float(1e-3, 1e-4, 1e-1, log=True))
    steps = 0

    def adapt(self, model, hp):
        pass

    def training_step(self, context, images, labels):
        self.steps += 1
        loss = context.loss(images, labels) * (1 + self.steps % 7)
        context.backward_and_step(loss)
        return loss.detach()
'''


def chaos(file: Path, cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.chaos", str(file), *options],
        env=environment(cache), capture_output=True, text=True, timeout=900,
    )  # fmt: skip


@pytest.mark.large
@pytest.mark.timeout(1200)
def test_a_sweep_killed_again_and_again_ends_bit_identically(tmp_path: Path) -> None:
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
    done = chaos(file, tmp_path / "cache", "--kills", "3", "--pause", "3", "--work-dir", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("[3-9] workers killed: no difference", done.stdout)
    # It was worth something: a worker was killed in the middle of a trial. On a busy machine most die in the start-up.
    disturbed = [RunDirectory(path) for path in (tmp_path / "runs").glob("disturbed*")]
    assert any(len(trial.attempts()) > 1 for run in disturbed for trial in run.trials())


@pytest.mark.large
def test_chaos_finds_state_that_a_plugin_forgot_to_keep(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "forgetful.py").write_text(FORGETFUL)
    file = tiny_sweep(
        tmp_path,
        methods=[{"forgetful": {"optimizer": "sgd", "head_lr": 0.0001}}],
        plugins=["plugins"],
        train={"epochs": 40, "batch_size": 32, "image_size": 12},
        search={"trials": 1},
        confirm={"seeds": 1},
        launch={"workers": 1, "threads": 1},
    )
    done = chaos(file, tmp_path / "cache", "--kills", "2", "--pause", "5")
    assert done.returncode == 1, done.stdout + done.stderr
    # A factor of the loss always shows in the curve; in the few test cases' metrics not always.
    assert "curves differ" in done.stdout
