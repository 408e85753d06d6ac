"""An optimiser resumes on the device and in the mode of this process, whatever the state was written by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import CPU, Digits, job
from torch import Tensor

from harness.method import ParamGroup
from harness.run.trial import TrialFolder
from harness.spec.train import TrainSpec
from harness.train.checkpoint import copied_to_cpu
from harness.train.job import Control
from harness.train.loop import Training
from harness.train.step import autocast_dtype, build_optimizer, set_learning_rates

META = torch.device("meta")


def optimizer_on(device: torch.device, kind: str = "adamw", capturable: bool = False) -> torch.optim.Optimizer:
    weight = torch.nn.Parameter(torch.zeros(3, 2, device=device))
    head = torch.nn.Parameter(torch.zeros(2, device=device))
    options = {"betas": (torch.tensor(0.8, device=device), torch.tensor(0.9, device=device))} if capturable else {}
    groups = [ParamGroup("own", [weight], 0.1, 0.0, options), ParamGroup("head", [head], 0.2, 0.0)]
    return build_optimizer(kind, groups, capturable)


def stepped(kind: str) -> torch.optim.Optimizer:
    """An optimiser on the CPU that has made a step, and so keeps something for each parameter."""
    optimizer = optimizer_on(CPU, kind)
    set_learning_rates(optimizer, 0.5)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def as_a_graph_writes_it(state: dict[str, Any]) -> dict[str, Any]:
    """The state as a recorded training on a GPU leaves it: rates, betas and modes of the graph, all on the CPU."""
    groups = [
        {**group, "lr": torch.tensor(group["lr"]), "betas": (torch.tensor(0.7), torch.tensor(0.9)), "capturable": True}
        for group in state["param_groups"]
    ]
    result: dict[str, Any] = copied_to_cpu({**state, "param_groups": groups})
    return result


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from tensors(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors(entry)


@pytest.mark.parametrize("written_by_a_graph", [True, False])
@pytest.mark.parametrize("capturable", [True, False])
def test_after_a_load_every_tensor_is_on_the_parameters_device(capturable: bool, written_by_a_graph: bool) -> None:
    state = stepped("adamw").state_dict()
    optimizer = optimizer_on(META, capturable=capturable)
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(as_a_graph_writes_it(state) if written_by_a_graph else state)
    found = list(
        tensors([optimizer.param_groups, [optimizer.state[p] for g in optimizer.param_groups for p in g["params"]]])
    )
    assert len(found) > 2
    assert {tensor.device for tensor in found} == {META}
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        assert group["capturable"] is capturable and group["fused"] is True
        # A step that is recorded reads the tensor that the schedule fills.
        assert group["lr"] is rate if capturable else isinstance(group["lr"], float)


def test_a_load_keeps_the_values_of_the_state() -> None:
    state = as_a_graph_writes_it(stepped("adamw").state_dict())
    optimizer = optimizer_on(CPU, capturable=True)
    optimizer.load_state_dict(state)
    first, head = optimizer.param_groups
    assert (float(first["lr"]), float(head["lr"])) == pytest.approx((0.05, 0.1))
    assert float(first["betas"][0]) == pytest.approx(0.7)
    assert float(optimizer.state[first["params"][0]]["step"]) == 1
    set_learning_rates(optimizer, 0.25)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.025)


def test_sgd_resumes_on_another_device() -> None:
    optimizer = optimizer_on(META, "sgd")
    optimizer.load_state_dict(stepped("sgd").state_dict())
    found = list(tensors([optimizer.state[p] for g in optimizer.param_groups for p in g["params"]]))
    assert {tensor.device for tensor in found} == {META}


def test_a_changed_configuration_keeps_the_rates_that_a_graph_reads(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Population-based training and schedules build the optimiser anew within a training, from a state on the CPU."""
    monkeypatch.setattr(
        "harness.train.loop.build_optimizer", lambda kind, groups, graphed: build_optimizer(kind, groups, True)
    )
    folder = TrialFolder(tmp_path, "search")
    folder.create()
    training = Training(job(digits, "linear_probe", train={"features": "each_step"}), folder, CPU, Control())
    training.progress.epoch = 1
    before = training.context.optimizer
    hp = {**training.job.hyperparameters, "head_lr": 0.5}
    training._rebuild(hp, [{"epoch": 1, "hyperparameters": hp}])
    (group,) = training.context.optimizer.param_groups
    assert training.context.optimizer is not before
    assert isinstance(group["lr"], Tensor) and group["lr"].device == group["params"][0].device
    assert group["peak_lr"] == 0.5
    set_learning_rates(training.context.optimizer, 0.5)
    assert float(group["lr"]) == pytest.approx(0.25)


@pytest.mark.parametrize(("major", "dtype"), [(8, torch.bfloat16), (7, None)])
def test_emulated_bfloat16_is_not_taken_for_the_devices_own(
    monkeypatch: pytest.MonkeyPatch, major: int, dtype: torch.dtype | None
) -> None:
    """A V100 and a T4 emulate it, slower than float32; the trial's device is asked, not the current one."""
    asked: list[object] = []

    def device(wanted: object) -> Any:
        asked.append(wanted)
        return nullcontext()

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or major >= 8

    monkeypatch.setattr("torch.cuda.device", device)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)
    second = torch.device("cuda:1")
    assert autocast_dtype(TrainSpec(precision="auto"), second) is dtype
    assert asked == [second]
    assert autocast_dtype(TrainSpec(precision="auto"), CPU) is None
