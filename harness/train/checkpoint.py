"""Checkpoints: everything that a trial needs to go on as if it had never stopped."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NotRequired, TypedDict, cast

import torch
from torch import Tensor

from harness.core.files import Fence, TornFileError, open_stream, write_atomic_by
from harness.networks.backbones import Model

FORMAT = 1

COST_SHARE = 0.01
"""Of the training time, so much may go into checkpoints. Where an epoch is so short, or a network so large, that one
each epoch would cost more, some epochs go without; being told to stop always writes one."""

BYTES_PER_SECOND = 4e8
"""What the first checkpoint is expected to take: a core copies and writes about as much."""


class State(TypedDict):
    """The state that a training resumes from."""

    progress: dict[str, Any]
    """The members of ``harness.train.progress.Progress``."""
    tensors: dict[str, Tensor]
    optimizer: dict[str, Any]
    """As torch has it."""
    scaler: Any
    """As torch has it; None where gradients are not scaled."""
    method: Any
    """As the method has it."""
    compiled: NotRequired[bool]


def changing_tensors(model: Model) -> dict[str, Tensor]:
    """The tensors that training may change: trained parameters and all buffers.

    Frozen weights come from the backbone and the seed, and are not stored again and again.
    """
    tensors: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    tensors.update(model.named_buffers())
    return tensors


def snapshot(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that later steps cannot change."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def copied_to_cpu(value: Any) -> Any:
    """Deep copy with every tensor on the CPU."""
    return _copied(value, torch.device("cpu"))


def on_device(value: Any, device: torch.device) -> Any:
    """Deep copy with every tensor on a device: the way back from ``copied_to_cpu``."""
    return _copied(value, device)


def _copied(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to(device, copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(entry, device) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(entry, device) for entry in value]
    return copy.copy(value)


def restore(model: Model, stored: dict[str, Tensor]) -> None:
    """Put stored tensors back into a model that was built in the same way.

    Raises:
        ValueError: names differ.
    """
    current = changing_tensors(model)
    if current.keys() != stored.keys():
        raise ValueError("the checkpoint belongs to another network")
    with torch.no_grad():
        for name, tensor in current.items():
            tensor.copy_(stored[name])


def load_checkpoint(path: Path) -> State | None:
    """Read a checkpoint; None when there is none.

    Raises:
        DamagedCheckpointError: the file is truncated or not a checkpoint.
    """
    if not path.exists():
        return None
    try:
        # By a stream of our own: torch hides what the file system says behind words of its own.
        with open_stream(path) as stream:
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        raise DamagedCheckpointError(path) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedCheckpointError(path)
    return cast(State, state)


def write_checkpoint(path: Path, state: State, fence: Fence | None = None) -> None:
    """Replace a checkpoint, atomically; ``fence`` as for ``harness.core.files.write_atomic``."""
    write_atomic_by(path, lambda stream: _save({"format": FORMAT, **state}, stream), fence)


class DamagedCheckpointError(TornFileError):
    """A checkpoint cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "starts the trial from its beginning")


class CheckpointWriter:
    """Writes checkpoints beside the training, one at a time, the newest last.

    ``fence`` is asked before each write and raises when this process no longer owns the trial.
    """

    def __init__(self, path: Path, fence: Fence | None = None) -> None:
        self._path = path
        self._fence = fence
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._began = time.monotonic()
        self._cost = 0.0

    def expect(self, model: Model) -> None:
        """Estimate what a checkpoint of this model costs, before the first one shows it."""
        tensors = changing_tensors(model).values()
        # An optimiser has two more for each that trains.
        size = sum(tensor.nbytes * (3 if tensor.requires_grad else 1) for tensor in tensors)
        self._cost = size / BYTES_PER_SECOND

    @property
    def due(self) -> bool:
        """Whether a checkpoint now keeps the time spent on them below ``COST_SHARE``."""
        return time.monotonic() - self._began >= self._cost / COST_SHARE

    def submit(self, state: Callable[[], State]) -> None:
        """Take a state whose tensors nobody changes any more, and start writing it; waits for the write before it."""
        self.wait()
        self._began = time.monotonic()
        taken = state()
        gathering = time.monotonic() - self._began
        thread = threading.Thread(target=self._write, args=(taken, gathering), name="checkpoint")
        try:
            thread.start()
        except RuntimeError:
            # Beyond a limit of processes there is no thread to be had: the training waits for this one.
            self._write(taken, gathering)
        else:
            self._thread = thread

    def wait(self) -> None:
        """Wait for the last write; raises what it raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, state: State, gathering: float) -> None:
        try:
            write_checkpoint(self._path, state, self._fence)
        except BaseException as error:  # noqa: BLE001  (re-raised by wait in the training thread)
            self._error = error
        # Processor time: waiting for the disk costs the training nothing.
        self._cost = gathering + time.thread_time()


def _save(state: Mapping[str, object], stream: BinaryIO) -> None:
    try:
        torch.save(state, stream)
    except RuntimeError as error:
        # torch's archive writer hides what the file system said.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise
