"""The host's half of recorded steps on a CPU: stand-ins for the parts of ``torch.cuda`` that a recording touches.

What a recording would hold back is run and undone; a replay runs the step again on the recording's own tensors.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch

from harness.train.speed import capture
from harness.train.step import StepContext


class FakeStream:
    """A stream of a device."""

    made: ClassVar[list[FakeStream]] = []
    """All since the test began."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device
        FakeStream.made.append(self)

    def wait_stream(self, other: object) -> None:
        """Everything here happens in order."""


class FakeGenerator:
    """A device's random generator: whether it takes itself for capturing."""

    def __init__(self) -> None:
        self.state: object = "as before"

    def clone_state(self) -> FakeGenerator:
        copy = FakeGenerator()
        copy.state = self.state
        return copy

    def graphsafe_set_state(self, other: FakeGenerator) -> None:
        self.state = other.state


class FakeGraph:
    """A recorded step."""

    def replay(self) -> None:
        CUDA.replays += 1
        assert CUDA.on_replay is not None
        CUDA.on_replay()


@dataclass
class FakeCuda:
    """What the stand-ins know, and how they are to fail."""

    context: StepContext | None = None
    default: FakeStream = field(default_factory=FakeStream)
    current: FakeStream = field(init=False)
    generator: FakeGenerator = field(default_factory=FakeGenerator)
    captures: int = 0
    replays: int = 0
    at_end: BaseException | None = None
    """Raised where the recording ends, as CUDA does where it was broken off."""
    empty: bool = False
    """Whether nothing is recorded, and torch warns of it."""
    on_replay: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        self.current = self.default
        FakeStream.made.clear()


CUDA = FakeCuda()


@contextmanager
def _graph(graph: FakeGraph, stream: FakeStream | None = None, **_: Any) -> Iterator[None]:
    fake = CUDA
    assert fake.context is not None
    fake.captures += 1
    assert stream is not None
    before, inner = _values(fake.context), fake.current
    fake.current = stream
    fake.generator.state = "capturing"
    try:
        yield
    finally:
        # Nothing of it was computed; gradients that it made stay, as objects.
        for tensor, value in zip(_tensors(fake.context), before, strict=True):
            tensor.data.copy_(value)
        if fake.at_end is not None:
            raise fake.at_end
        fake.current, fake.generator.state = inner, "as before"
    if fake.empty:
        warnings.warn("The CUDA Graph is empty. This usually means …", UserWarning, stacklevel=2)


@contextmanager
def _stream(stream: FakeStream) -> Iterator[None]:
    outer, CUDA.current = CUDA.current, stream
    try:
        yield
    finally:
        CUDA.current = outer


def _tensors(context: StepContext) -> list[torch.Tensor]:
    states = context.optimizer.state.values()
    kept = [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]
    return [*context.model.parameters(), *context.model.buffers(), *kept]


def _values(context: StepContext) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in _tensors(context)]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """``torch.cuda`` with the stand-ins, as a new process has it."""
    CUDA.__dict__.update(FakeCuda().__dict__)
    capture.side_stream.cache_clear()
    monkeypatch.setattr("torch.cuda.Stream", FakeStream)
    monkeypatch.setattr("torch.cuda.CUDAGraph", FakeGraph)
    monkeypatch.setattr("torch.cuda.graph", _graph)
    monkeypatch.setattr("torch.cuda.stream", _stream)
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: CUDA.current)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.default_generators", (CUDA.generator,))
    return CUDA
