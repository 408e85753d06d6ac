"""The command that kills workers can tell when a plugin does not survive it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import chaos, tiny_sweep

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


@pytest.mark.slow
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
    done = chaos(file, tmp_path / "cache", "--kills", "3", "--pause", "3")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "results" in done.stdout and "differ" in done.stdout
