"""The whole way on a GPU: two workers on one device, one of them killed, interrupted, and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from jobs import Digits, job
from tiny import environment, run_sweep, sweep_command, tiny_sweep

from harness.proof.comparison import repeated_work
from harness.run.directory import RunDirectory
from harness.run.trial import TrialFolder
from harness.train.job import Control
from harness.train.loop import Training

METHODS = ["full_finetune", "lora_c", {"kernel": {"method": "gpaf", "execution": "triton"}}]


@pytest.mark.cuda
def test_a_sweep_on_one_gpu_survives_a_killed_worker_and_ctrl_c(tmp_path: Path) -> None:
    file = tiny_sweep(
        tmp_path,
        methods=METHODS,
        train={"epochs": 12, "batch_size": 32, "image_size": 16, "precision": "bf16"},
        launch={"kind": "local", "trials_per_device": 2},
    )
    cache, run = tmp_path / "cache", RunDirectory(tmp_path / "run")
    sweep = subprocess.Popen(
        sweep_command(file, run.path), env=environment(cache), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    victim = a_running_trial(run, sweep, set())
    os.kill(victim.lease().content["pid"], signal.SIGKILL)  # type: ignore[union-attr]
    a_running_trial(run, sweep, {victim.path})
    os.killpg(sweep.pid, signal.SIGINT)
    _, errors = sweep.communicate(timeout=100)
    assert sweep.returncode == 130, errors
    run_sweep(file, run.path, cache)
    results = [trial.result() for trial in run.trials()]
    assert len(results) == 3 * (2 + 2)
    assert {result["status"] for result in results} == {"done"}
    assert all(result["device"]["name"] != "cpu" and result["memory"]["peak_bytes"] > 0 for result in results)
    assert len(victim.attempts()) > 1 and repeated_work(run) == []


def a_running_trial(run: RunDirectory, sweep: subprocess.Popen[str], without: set[Path]) -> TrialFolder:
    """A trial that has ended an epoch and goes on, once there is one."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and sweep.poll() is None:
        for trial in run.trials():
            if trial.path not in without and not trial.finished and trial.claimed and trial.curve():
                return trial
        time.sleep(0.02)
    raise AssertionError(f"no trial was seen running; the sweep's exit code is {sweep.poll()}")


@pytest.mark.cuda
def test_a_compiled_network_is_recorded_too(digits: Digits, tmp_path: Path) -> None:
    losses = []
    for step in ("compiled", "plain"):
        made = job(digits, "bn_affine", train={"step": step, "epochs": 2, "precision": "fp32"})
        folder, lines = TrialFolder(tmp_path / step, "search"), list[str]()
        folder.create()
        training = Training(made, folder, torch.device("cuda:0"), Control(log=lines.append))
        losses.append(training.run().curve[-1]["train_loss"])
        recorded = training.graph is not None and training.graph.recorded
        assert (training.compiled, recorded) == (step == "compiled",) * 2, lines
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.cuda
@pytest.mark.parametrize("method", ["full_finetune", "lora_c", "gpaf"])
def test_recorded_steps_train_as_plain_ones(digits: Digits, tmp_path: Path, method: str) -> None:
    hp = {"execution": "triton"} if method == "gpaf" else {}
    ends, lines = [], []
    for graphs in ("auto", "plain"):
        made = job(digits, method, hp=hp, train={"step": graphs, "epochs": 2, "precision": "fp32"})
        folder = TrialFolder(tmp_path / graphs, "search")
        folder.create()
        training = Training(made, folder, torch.device("cuda:0"), Control(log=lines.append))
        curve = training.run().curve
        assert (training.graph is not None and training.graph.recorded) == (graphs == "auto"), lines
        ends.append((curve[-1]["train_loss"], [p.detach().cpu() for p in training.model.parameters()]))
    (loss, tensors), (plain_loss, plain_tensors) = ends
    assert loss == pytest.approx(plain_loss, rel=1e-3)
    for tensor, plain in zip(tensors, plain_tensors, strict=True):
        assert (tensor - plain).norm() <= 1e-2 * plain.norm() + 1e-4
