"""What compares trainings on a GPU finds a difference; its other half, the GPU, is not here."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ROOT

from benchmarks import exact
from benchmarks.exact import Ended, differences
from harness.train.step import _Resumable

QUICK = ["--device", "cpu", "--size", "8", "--epochs", "2", "--methods", "bn_affine"]


def ended(loss: float = 0.5, weight: float = 1.0) -> Ended:
    curve = [{"epoch": n, "step": n, "train_loss": loss, "val": {"auc": 0.5}} for n in range(2)]
    return Ended(curve, {"weight": torch.full((4,), weight), "count": torch.tensor(3)}, recorded=True)


def test_bits_are_compared_unless_told_otherwise() -> None:
    assert differences(ended(), ended()) == []
    (found,) = differences(ended(), ended(weight=1.0 + 2**-20))
    assert found == "1 of 2 tensors, the first is weight"
    (found,) = differences(ended(loss=0.5 + 2**-50), ended())
    assert found.startswith("the curve, from epoch 0: loss 0.5")
    assert differences(ended(weight=float("nan")), ended()) != []


def test_to_rounding_small_differences_pass_and_large_ones_do_not() -> None:
    close = ended(loss=0.5001, weight=1.0 + 1e-4)
    assert differences(close, ended(), rounding=1e-2) == []
    far = ended(loss=0.6, weight=1.5)
    assert len(differences(far, ended(), rounding=1e-2)) == 3
    assert differences(ended(weight=float("nan")), ended(), rounding=1e-2) != []
    assert differences(ended(loss=float("nan")), ended(), rounding=1e-2) != []


def test_other_lengths_and_names_are_differences() -> None:
    assert differences(replace(ended(), curve=[]), ended()) == ["0 epochs, not 2"]
    assert differences(replace(ended(), tensors={}), ended()) == ["the names of the tensors"]


def test_a_resumed_training_is_the_undisturbed_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exact.main([*QUICK, "--out", str(tmp_path / "exact.json")]) == 0
    made = json.loads((tmp_path / "exact.json").read_text())["comparisons"]
    assert [(one["what"], one["status"]) for one in made] == [
        ("resumed", "same"),
        ("second device", "not compared"),
        ("recorded", "not compared"),
    ]
    assert capsys.readouterr().out.endswith("3 comparisons, 0 different\n")


def test_a_training_that_forgets_its_optimiser_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_Resumable, "load_state_dict", lambda self, state: None)
    assert exact.main(QUICK) == 1
    assert "bn_affine, resumed: different: the curve" in capsys.readouterr().out


def test_a_second_device_is_compared_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    class Gpu:
        type = "cuda"

        def __init__(self, name: str) -> None:
            taken.append(name)
            self.index = int(name[-1])

    class Made:
        def run(self, method: str, hp: Any, device: Any, step: str = "auto", at_a_time: int | None = None) -> Ended:
            return ended(weight=1.0 + device.index + (0.001 if step == "plain" else 0.0))

    monkeypatch.setattr(exact, "usable_device", Gpu)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "B" if device == 1 else "A")
    found = {one.what: one for one in exact.compare(Made(), "gpaf", {}, "cuda:0")}  # type: ignore[arg-type]
    assert {what: one.status for what, one in found.items()} == {
        "resumed": "same",
        "second device": "different",
        "recorded": "same",
    }
    # The one of another kind is passed over, and the first is current again.
    assert taken == ["cuda:0", "cuda:2", "cuda:0"]


@pytest.mark.parametrize(("code", "fails"), [(0, False), (1, True), (2, True)])
def test_the_command_for_a_gpu_fails_where_trainings_differ(tmp_path: Path, code: int, fails: bool) -> None:
    """With a Python that does nothing but end, as told, where trainings are compared."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *benchmarks.exact*) exit {code};; esac\nexit 0\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu.sh"), str(tmp_path / "out"), "quick"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
        capture_output=True,
        text=True,
    )
    assert f"exact: exit code {code}" in done.stdout
    assert done.returncode == int(fails)
