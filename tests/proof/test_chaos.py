"""However it is disturbed, a sweep ends as if nothing had happened; and the command that shows it can tell when not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from slow_method import slow_method
from tiny import environment, tiny_sweep

from harness.proof.chaos.__main__ import _verdict, main
from harness.proof.chaos.disturbed_run import HitTally
from harness.proof.chaos.fault_layer import obstacle

FORGETFUL = '''"""A method that keeps state outside the checkpoint."""

import torch

from harness.method import Method, optimiser_space
from harness.space.parameters import Float


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


def short_sweep(folder: Path, **changes: Any) -> Path:
    """Trials of seconds with many epochs, which cost next to no processor time."""
    slow_method(folder, 0.01)
    given: dict[str, Any] = {
        "plugins": ["plugins"],
        "methods": [{"slow": {"method": "slow"}}],
        "train": {"epochs": 20, "batch_size": 128, "image_size": 8},
        "search": {"trials": 3, "startup": 3, "concurrency": 3, "seeds": [0]},
        "confirm": {"seeds": 2},
        "launch": {"kind": "local", "workers": 2, "threads": 1},
    }
    return tiny_sweep(folder, **{**given, **changes})


def hits(text: str) -> dict[str, int]:
    """Kind → how many disturbances hit a trial in training, as the summary says."""
    return {kind: int(count) for kind, count in re.findall(r"^([a-z-]+) +(\d+) +\d+$", text, re.MULTILINE)}


@pytest.mark.timeout(900)
def test_a_disturbed_sweep_ends_bit_identically(tmp_path: Path, shared_cache: Path) -> None:
    """In small; the long one is ``python -m harness.chaos sweeps/chaos.yaml --disturbances 500``."""
    kinds = [
        "kill",
        "terminate",
        "suspend",
        *(["clock", "thread", "write", "fsync", "rename", "scandir"] if obstacle() is None else []),
    ]
    words = ["--disturbances", "8", "--kinds", ",".join(kinds), "--pause", "0.2", "--seed", "3"]
    done = chaos(short_sweep(tmp_path), shared_cache, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no difference to the undisturbed run" in done.stdout
    assert "0 trials lost, 0 finished twice, 0 differences" in done.stdout
    found = hits(done.stdout)
    assert sum(found.values()) >= 8 and set(found) <= set(kinds) and len(found) > 2


def test_a_run_without_a_hit_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert _verdict(HitTally(3, others=Counter(kill=7)), [], None) == 1
    assert "this proves nothing" in capsys.readouterr().out
    assert _verdict(HitTally(3, hits=Counter(kill=2)), [], None) == 1
    assert _verdict(HitTally(3, hits=Counter(kill=3)), [], None) == 0
    assert _verdict(HitTally(3, hits=Counter(kill=3)), ["x: never finished"], None) == 1


@pytest.mark.large
@pytest.mark.timeout(900)
def test_disturbances_that_hit_no_training_prove_nothing(tmp_path: Path, shared_cache: Path) -> None:
    # A curve of one epoch is whole as soon as it is seen.
    file = short_sweep(tmp_path, train={"epochs": 1, "batch_size": 128, "image_size": 8}, search={"trials": 1})
    done = chaos(file, shared_cache, "--kinds", "kill", "--disturbances", "3")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "this proves nothing" in done.stdout and hits(done.stdout) == {}


def test_a_wrong_request_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--kinds", "kill,fsyn"], "--kinds: no kind 'fsyn'; did you mean 'fsync'?"),
        (["--kills", "3", "--kinds", "kill"], "--kills: names its kinds itself"),
        (["--disturbances", "0"], "--disturbances must be at least 1"),
        (["--kinds", ","], "--kinds: none is left"),
        (["--seed", "1"], "no such file"),
    ):
        assert main([str(tmp_path / "none.yaml"), *words]) == 2
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error


@pytest.mark.large
@pytest.mark.timeout(1800)
def test_every_kind_of_disturbance_changes_nothing(tmp_path: Path, shared_cache: Path) -> None:
    file = short_sweep(tmp_path, launch={"kind": "local", "workers": 3, "threads": 1})
    done = chaos(file, shared_cache, "--disturbances", "100", "--pause", "0.3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(hits(done.stdout)) >= 8


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
