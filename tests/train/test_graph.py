"""Recorded steps train what plain ones do, and whatever goes wrong with a recording leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cuda import FakeCuda, FakeStream
from jobs import CPU, Digits, job
from torch import Tensor

from harness.run.trial import TrialFolder
from harness.train.job import Control
from harness.train.loop import Training
from harness.train.run import cause_of
from harness.train.speed.graph import EAGER_STEPS, GraphedStep
from harness.train.step import build_optimizer

STEPS = EAGER_STEPS + 3


@pytest.fixture
def trained(digits: Digits, tmp_path: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trained]:
    """Trains some steps, graphed by the stand-ins or plain."""
    # A CPU has no capturable step of its own; the rates are tensors, as a recorded step needs them.
    monkeypatch.setattr("harness.train.loop.build_optimizer", _rates_as_tensors)

    def train(graphed: bool, change: Callable[[Training, int], object] = lambda *_: None) -> Trained:
        folder = TrialFolder(tmp_path / str(graphed), "search")
        folder.create()
        lines: list[str] = []
        made = job(digits, "bn_affine", stage="search", train={"batch_size": 32})
        training = Training(made, folder, CPU, Control(log=lines.append))
        if graphed:
            training.graph = GraphedStep(training.method, training.context, lines.append)
            cuda.context = training.context
            if cuda.on_replay is None:
                cuda.on_replay = lambda: _replayed(training)
        order = torch.split(training.data.order(made.seed, 0), 32)
        training.model.train()
        losses = []
        for number in range(STEPS):
            change(training, number)
            losses.append(float(training.step(order[number % (len(order) - 1)], number)))
        return Trained(training, losses, lines)

    return train


class Trained:
    def __init__(self, training: Training, losses: list[float], lines: list[str]) -> None:
        self.training, self.losses, self.lines = training, losses, lines
        self.tensors = [p.detach().clone() for p in training.model.parameters()]
        states = training.context.optimizer.state.values()
        self.tensors += [value.clone() for state in states for value in state.values() if isinstance(value, Tensor)]

    def same_as(self, other: Trained) -> bool:
        pairs = zip(self.tensors, other.tensors, strict=True)
        return self.losses == other.losses and all(torch.equal(one, two) for one, two in pairs)


def _rates_as_tensors(kind: str, groups: Any, graphed: bool) -> torch.optim.Optimizer:
    optimizer = build_optimizer(kind, groups)
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"])
    return optimizer


def _replayed(training: Training) -> None:
    graph = training.graph
    assert graph is not None and graph._images is not None and graph._labels is not None and graph._loss is not None
    loss = training.method.training_step(training.context, graph._images, graph._labels)
    graph._loss.copy_(loss)


def test_recorded_steps_train_as_plain_ones(trained: Callable[..., Trained], cuda: FakeCuda) -> None:
    plain, graphed = trained(False), trained(True)
    assert graphed.same_as(plain)
    assert (cuda.captures, cuda.replays, graphed.lines) == (1, STEPS - EAGER_STEPS, [])
    assert graphed.training.graph is not None and graphed.training.graph.recorded


def test_a_smaller_last_batch_is_no_part_of_a_recording(trained: Callable[..., Trained], cuda: FakeCuda) -> None:
    """Neither before the recording, whatever its place, nor after it."""

    def with_a_small_batch(training: Training, number: int) -> None:
        if number in (1, EAGER_STEPS, STEPS - 1):
            training.step(training.data.positions["train"][:9], 100 + number)

    plain, graphed = trained(False, with_a_small_batch), trained(True, with_a_small_batch)
    assert graphed.same_as(plain)
    assert (cuda.captures, cuda.replays, graphed.lines) == (1, STEPS - EAGER_STEPS, [])


def test_one_stream_serves_a_process(trained: Callable[..., Trained], cuda: FakeCuda) -> None:
    """Each further one keeps freed memory and a workspace of its own."""
    trained(True)
    cuda.on_replay = None
    trained(True)
    assert [stream.device for stream in FakeStream.made] == [CPU]
    assert cuda.current is cuda.default and cuda.captures == 2


def test_an_empty_recording_is_refused(trained: Callable[..., Trained], cuda: FakeCuda) -> None:
    """So it is where work goes to another device; torch only warns, and weights would never change again."""
    cuda.empty = True
    graphed = trained(True)
    assert (cuda.captures, cuda.replays) == (1, 0)
    assert len(graphed.lines) == 1 and "the graph is empty" in graphed.lines[0]
    assert graphed.same_as(trained(False))


def test_a_replay_that_trains_nothing_ends_the_graph(trained: Callable[..., Trained], cuda: FakeCuda) -> None:
    """Even if it moves what the optimiser keeps: the trial goes on as if it had not been, and says so."""

    def only_moments() -> bool:
        assert cuda.context is not None
        for state in cuda.context.optimizer.state.values():
            state["exp_avg"].add_(1.0)
        cuda.generator.state = "moved on"
        return True

    cuda.on_replay = only_moments
    graphed = trained(True)
    assert (cuda.captures, cuda.replays) == (1, 1)
    assert graphed.lines == ["steps are not recorded as a CUDA graph: the first replay changed no trained tensor"]
    assert cuda.generator.state == "as before"
    assert graphed.same_as(trained(False))


@pytest.mark.parametrize("place", ["in the step", "at its end"])
def test_a_failed_recording_leaves_no_trace(
    trained: Callable[..., Trained], cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """No gradient, to which the next backward pass would add; no stream and no generator that is still capturing."""
    cuda.at_end = RuntimeError("operation failed due to a previous error during capture")
    if place == "in the step":
        _fail_while_capturing(monkeypatch, cuda, RuntimeError("operation not permitted"))
    graphed = trained(True)
    assert (cuda.captures, cuda.replays, len(graphed.lines)) == (1, 0, 1)
    assert cuda.current is cuda.default and cuda.generator.state == "as before"
    assert graphed.same_as(trained(False))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_lack_of_memory_while_recording_is_said(
    trained: Callable[..., Trained], cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Where it is swallowed nobody packs fewer trials on the device; ending the recording hides it behind another."""
    cuda.at_end = RuntimeError("operation failed due to a previous error during capture")
    _fail_while_capturing(monkeypatch, cuda, error)
    with pytest.raises(type(error)) as raised:
        trained(True)
    assert raised.value is error and cause_of(error) == "oom"
    assert cuda.current is cuda.default and cuda.generator.state == "as before"
    assert cuda.context is not None and all(p.grad is None for p in cuda.context.model.parameters())


def test_a_lack_of_memory_behind_another_error_is_one_too() -> None:
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        except RuntimeError:
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904
    except RuntimeError as error:
        assert cause_of(error) == "oom"
    assert cause_of(RuntimeError("operation failed due to a previous error during capture")) == "bug"


def test_rates_that_a_recording_cannot_read_are_refused(trained: Callable[..., Trained], cuda: FakeCuda) -> None:
    def own_rates(training: Training, number: int) -> None:
        for group in training.context.optimizer.param_groups:
            group["lr"] = float(group["lr"])

    graphed = trained(True, own_rates)
    assert cuda.captures == 0
    assert len(graphed.lines) == 1 and "learning rates" in graphed.lines[0]
    assert graphed.same_as(trained(False, own_rates))


@pytest.mark.parametrize("setting", ["lr", "weight_decay"])
def test_a_setting_that_changes_after_the_recording_ends_the_graph(
    trained: Callable[..., Trained], cuda: FakeCuda, setting: str
) -> None:
    """A graph holds numbers as constants, and reads a rate from the tensor that was there."""

    def schedule(training: Training, number: int) -> None:
        if number == STEPS - 2:
            for group in training.context.optimizer.param_groups:
                group[setting] = torch.tensor(0.1) if setting == "lr" else 0.3

    graphed = trained(True, schedule)
    assert (cuda.captures, cuda.replays) == (1, 1)
    assert graphed.lines == [
        "steps are not recorded as a CUDA graph: a setting of the optimiser has changed since the recording"
    ]
    assert graphed.same_as(trained(False, schedule))


def _fail_while_capturing(monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda, error: Exception) -> None:
    """Let the step fail once its gradients are there, as it may where the optimiser needs more memory."""
    step = torch.optim.Optimizer.zero_grad

    def zero_grad(self: torch.optim.Optimizer, set_to_none: bool = True) -> None:
        if cuda.generator.state == "capturing":
            raise error
        step(self, set_to_none)

    monkeypatch.setattr("torch.optim.Optimizer.zero_grad", zero_grad)
