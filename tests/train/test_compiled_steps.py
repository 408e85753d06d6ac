"""Compiled steps: whether a study has them is decided once, and what was begun with them ends with them.

The compiler itself takes half a minute, so most tests put something in its place; what it gives is a large test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import CPU, Digits, job, run, run_in_pieces
from tiny import run_inline, tiny_sweep
from torch import Tensor

from analysis.run_sections import step_sentences
from harness.core.files import encode_json, read_json
from harness.networks.backbones import Model
from harness.proof.comparison import trial_differences
from harness.proof.rerun import compare, planned, repeat
from harness.run.directory import RunDirectory
from harness.run.measured_choices import step_choice_path, step_choice_paths
from harness.run.trial import TrialFolder
from harness.spec.train import TrainSpec
from harness.studies.study import Roots
from harness.train import step_choice
from harness.train.job import Control
from harness.train.speed import compiled

Network = Callable[[Model, Tensor], Tensor]


def put_in_place(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    """Let ``network`` be what the compiler gives."""
    monkeypatch.setattr(compiled, "_function", lambda method: network)


def other_bits(model: Model, images: Tensor) -> Tensor:
    """The network with other last bits, as a compiler has them."""
    logits: Tensor = model(images) * (1 + 2**-20)
    return logits


def test_a_measurement_decides_once_for_all_trials_of_a_study(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, other_bits)
    rounds = {"auto": [2.0, 2.0, 2.0], "compiled": [1.0, 1.0, 1.0]}
    measured = []

    def measure(made: Any, *rest: Any) -> dict[str, Any]:
        measured.append(made.study.name)
        return step_choice.decision(100, rounds, compile_seconds=90.0)

    monkeypatch.setattr(step_choice, "measure", measure)
    train = {"epochs": 1, "batch_size": 64, "image_size": 8, "step": "measured"}
    changes: dict[str, Any] = {
        "methods": ["lora_c"],
        "train": train,
        "search": {"trials": 1, "seeds": [0]},
    }
    file = tiny_sweep(tmp_path, **changes, confirm={"seeds": 2, "repeat": True})
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    found = RunDirectory(tmp_path / "run")
    assert measured == ["lora_c@small"]
    # Were it measured again, it would be decided otherwise.
    rounds["compiled"] = [3.0, 3.0, 3.0]
    tiny_sweep(tmp_path, **changes, confirm={"seeds": 3, "repeat": True})
    run_inline(file, tmp_path / "run", shared_cache, report=False)
    assert len(measured) == 1
    (study,) = found.studies()
    (path,) = step_choice_paths(study.path)
    assert read_json(path)["choice"] == "compiled"
    assert all(trial.result()["compiled"] for trial in study.every_trial())
    (again,) = study.repeats()
    first = TrialFolder(again.path.with_name(again.path.name.removesuffix("-again")), "confirm")
    assert trial_differences(first, again) == ["requests"]  # which say that it is a repetition
    # Somebody who repeats a trial measures nothing either.
    (now,) = planned(found, "lora_c", "small", Roots(shared_cache, shared_cache))
    repeat(now, first, TrialFolder(tmp_path / "repeated", "confirm"), found, CPU)
    assert compare(first, TrialFolder(tmp_path / "repeated", "confirm"), "balanced_accuracy") == []
    (said,) = step_sentences(found)
    assert said.startswith("lora_c on small, cpu") and "steps compiled, as measured once (compiled 2.00 times" in said


@pytest.mark.parametrize(("steps", "choice"), [(6000, "auto"), (6200, "compiled")])
def test_one_trial_has_to_earn_the_compiling(steps: int, choice: str) -> None:
    # A ResNet-50 on an H200: 19 ms a step, 1.4 times as fast compiled, 34 s of compiling; an outlier changes nothing.
    rounds = {"auto": [0.0193, 0.0193, 0.0193], "compiled": [0.0193 / 1.4, 1.0, 0.0193 / 1.4]}
    assert step_choice.decision(steps, rounds, 34.0)["choice"] == choice


def test_both_sides_are_measured_and_the_trial_begins_as_if_they_had_not(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, other_bits)
    monkeypatch.setattr(step_choice, "SECONDS", 0.01)
    study = tmp_path / "study"
    folder, result = run(job(digits, "full_finetune", train={"step": "measured"}, study=study), tmp_path / "measured")
    (path,) = step_choice_paths(study)
    facts = read_json(path)
    assert facts["steps"] == result["steps"] and facts["seconds_per_step"].keys() == {"auto", "compiled"}
    assert result["compiled"] == (facts["choice"] == "compiled")
    outright, _ = run(job(digits, "full_finetune", train={"step": facts["choice"]}), tmp_path / "outright")
    assert trial_differences(folder, outright) == []


def test_a_trial_keeps_what_it_began_with(digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, other_bits)
    undisturbed, _ = run(job(digits, "lora_c", train={"step": "compiled"}), tmp_path / "undisturbed")
    plain, _ = run(job(digits, "lora_c", train={"step": "plain"}), tmp_path / "plain")
    assert undisturbed.curve() != plain.curve()
    study = tmp_path / "study"
    path = step_choice_path(study, "cpu")
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_json({"device": "cpu", "choice": "compiled", "reason": "measured"}))
    kinds = iter(["cpu", *["another"] * 100])
    monkeypatch.setattr(step_choice, "device_kind", lambda device: next(kinds))
    pieces = run_in_pieces(job(digits, "lora_c", train={"step": "measured"}, study=study), tmp_path / "pieces", 5)
    assert trial_differences(undisturbed, pieces) == []


@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_where_compiling_fails_a_trial_trains_as_without(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pass_: str
) -> None:
    def fails(*_: Any) -> Tensor:
        raise RuntimeError("no C++ compiler")

    def broken(model: Model, images: Tensor) -> Tensor:
        logits = other_bits(model, images)  # batch norms have moved
        logits.register_hook(fails)
        return fails() if pass_ == "forward" else logits

    plain, _ = run(job(digits, "full_finetune"), tmp_path / "plain")
    put_in_place(monkeypatch, broken)
    lines: list[str] = []
    made = job(digits, "full_finetune", train={"step": "compiled"})
    fallen, result = run(made, tmp_path / "fallen", Control(log=lines.append))
    assert trial_differences(plain, fallen) == [] and result["compiled"] is False
    assert [line for line in lines if "compiled" in line] == ["steps are not compiled: RuntimeError: no C++ compiler"]


@pytest.mark.parametrize("method", ["linear_probe", "l2_sp"])
def test_methods_that_cannot_be_compiled_say_so(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    put_in_place(monkeypatch, lambda model, images: pytest.fail("compiled"))
    lines: list[str] = []
    _, result = run(job(digits, method, train={"step": "compiled"}), tmp_path / "trial", Control(log=lines.append))
    assert result["status"] == "done" and not result["compiled"]
    assert any("steps are not compiled" in line for line in lines)


def test_the_compiler_sees_whole_networks_and_knows_them_again(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = 0

    def traced(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    # torch's own tracing and guards, without its code generation.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, options, **rest: compile_(function, backend=traced, **rest))
    monkeypatch.setattr(compiled, "_functions", {})
    # lora_c: two structures of one method, where torch would give up after the first.
    expected: list[tuple[str, dict[str, Any], int]] = [("gpaf", {}, 1), ("gpaf", {}, 1)]
    expected += [("lora_c", {"rank": 2}, 2), ("lora_c", {"rank": 4}, 3)]
    with torch._dynamo.config.patch(recompile_limit=1):
        for number, (method, hp, count) in enumerate(expected):
            made = job(digits, method, hp=hp, train={"step": "compiled", "epochs": 1}, stage="search")
            folder, result = run(made, tmp_path / f"{number}")
            assert result["compiled"] and graphs == count
            if number == 0:
                plain, _ = run(replace(made, train=made.train.merged({"step": "plain"})), tmp_path / "plain")
                losses = [one.curve()[-1]["train_loss"] for one in (folder, plain)]
                assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_earlier_name_of_the_setting_is_understood() -> None:
    assert TrainSpec.model_validate({"graphs": "off"}).step == "plain"
    assert TrainSpec.model_validate({"graphs": "auto"}).step == "auto"


@pytest.mark.large
@pytest.mark.parametrize("method", ["full_finetune", "lora_c", "bn_affine", "conv_adapter", "gpaf"])
def test_a_compiled_training_is_the_plain_one_and_resumes_bit_for_bit(
    digits: Digits, tmp_path: Path, method: str
) -> None:
    """Losses of every epoch within 1e-3 of the plain ones; interrupted, and compiled anew, the same bits."""
    made = job(digits, method, train={"step": "compiled"}, cache=tmp_path)
    whole, result = run(made, tmp_path / "whole")
    assert result["compiled"], whole.log_path
    torch._dynamo.reset()
    compiled._functions.clear()
    assert trial_differences(whole, run_in_pieces(made, tmp_path / "pieces", 7)) == []
    plain, _ = run(job(digits, method, train={"step": "plain"}), tmp_path / "plain")
    losses = [[line["train_loss"] for line in folder.curve()] for folder in (whole, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0] != losses[1]
