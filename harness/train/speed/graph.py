"""Training steps as a CUDA graph: recorded once, then replayed without the Python and the launches between kernels.

On an H200 a step of a ResNet-18 on images of 28 pixels takes a quarter of the time, one of a ResNet-50 on 224 pixels
0.96 of it (benchmarks/results).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import one_line
from harness.method import Method
from harness.spec.train import TrainSpec
from harness.train.job import out_of_memory
from harness.train.speed.capture import capture, on_side_stream, restoring_generator
from harness.train.step import CAPTURABLE, StepContext

EAGER_STEPS = 3
"""Steps before the recording: libraries choose their algorithms and the optimiser makes its state."""


def records_steps(
    train: TrainSpec, method: Method, optimizer: str, precision: torch.dtype | None, device: torch.device
) -> bool:
    """Whether a training's steps become a graph.

    Not in float16, whose scaler looks at the gradients, and not with SGD, whose steps torch does not record.
    """
    possible = device.type == "cuda" and optimizer in CAPTURABLE and precision != torch.float16
    return possible and is_capturable(method) and train.step != "plain"


def is_capturable(method: Method) -> bool:
    """Whether the class that wrote the method's training step says that it is always the same."""
    author = next(cls for cls in type(method).__mro__ if "training_step" in vars(cls))
    return bool(vars(author).get("capturable", False))


class GraphedStep:
    """A method's training step that is recorded after its first calls and replayed from then on.

    The first replay is watched: some trained tensor must have changed. Where it did not, where the recording fails, or
    where something that the graph holds as a constant changes later, all is as if the step had not been tried, steps
    go on as they are, and ``log`` is told once.

    Args:
        method: one for which ``records_steps`` holds.
        context: its optimiser must be capturable, with learning rates as tensors on the device.
        log: takes a line.
    """

    def __init__(self, method: Method, context: StepContext, log: Callable[[str], None]) -> None:
        self._method, self._context, self._log = method, context, log
        self._graph: torch.cuda.CUDAGraph | None = None
        self._images: Tensor | None = None
        self._labels: Tensor | None = None
        self._loss: Tensor | None = None
        self._constants: list[dict[str, object]] = []
        self._calls = 0
        self._failed = False
        self._proved = False

    def __call__(self, images: Tensor, labels: Tensor, whole: bool = True) -> Tensor:
        """One step on a batch, all of one shape where they are ``whole``; others run as they are. The detached loss.

        Raises:
            torch.OutOfMemoryError: memory ran out, while recording too: whoever packs trials has to know.
        """
        if not whole:
            return self._eager(images, labels)
        self._calls += 1
        if self._calls <= EAGER_STEPS or not self._ready(images, labels):
            return self._eager(images, labels)
        assert self._graph is not None and self._images is not None and self._labels is not None
        assert self._loss is not None
        self._images.copy_(images)
        self._labels.copy_(labels)
        if self._proved:
            self._graph.replay()
        elif not self._first_replay(self._graph, images.device):
            return self._eager(images, labels)
        return self._loss.clone()

    @property
    def recorded(self) -> bool:
        """Whether steps are replayed by now."""
        return self._graph is not None

    def _ready(self, images: Tensor, labels: Tensor) -> bool:
        """Whether there is a graph of this step; records it where it can."""
        if self._failed:
            return False
        constants = _constants(self._context.optimizer)
        if self._graph is None:
            return self._record(images, labels, constants)
        if constants != self._constants:
            self._give_up("a setting of the optimiser has changed since the recording")
            return False
        return True

    def _eager(self, images: Tensor, labels: Tensor) -> Tensor:
        # Where a recording is made, too: what is allocated at the first use must not belong to another stream.
        with on_side_stream(images.device):
            return self._method.training_step(self._context, images, labels)

    def _record(self, images: Tensor, labels: Tensor, constants: list[dict[str, object]]) -> bool:
        """Record a step; nothing is computed yet."""
        if any(not _is_read_by_steps(group) for group in self._context.optimizer.param_groups):
            self._give_up("the method keeps learning rates where a recorded step cannot read them")
            return False
        self._images, self._labels, self._constants = images.clone(), labels.clone(), constants
        failure: Exception | None = None
        try:
            with capture(images.device) as graph:
                self._loss = self._method.training_step(self._context, self._images, self._labels)
        except Exception as error:  # noqa: BLE001  (whatever cannot be recorded may run; if not, the step says so)
            failure = error
        if failure is not None:
            self._give_up(one_line(str(failure)))
            if (lacking := out_of_memory(failure)) is not None:
                raise lacking
            return False
        self._graph = graph
        return True

    def _first_replay(self, graph: torch.cuda.CUDAGraph, device: torch.device) -> bool:
        """Replay for the first time; False where that trained nothing, and all is then as before."""
        before = _Before(self._context)
        with contextlib.suppress(_UntrainedError), restoring_generator(device):
            graph.replay()
            if not before.trained():
                raise _UntrainedError
            self._proved = True
        if not self._proved:
            before.put_back()
            self._give_up("the first replay changed no trained tensor")
        return self._proved

    def _give_up(self, reason: str) -> None:
        """Leave the graph for good, with nothing of it in the next step."""
        self._failed = True
        self._graph = self._images = self._labels = self._loss = None
        # What a recording leaves there holds no values; a backward pass would add to it.
        self._context.optimizer.zero_grad(set_to_none=True)
        self._log(f"steps are not recorded as a CUDA graph: {reason}")


class _UntrainedError(Exception):
    """A replay changed no trained tensor."""


class _Before:
    """Copies of all that a training step may change, made before one."""

    def __init__(self, context: StepContext) -> None:
        optimizer = context.optimizer
        self._trained = [p.detach() for group in optimizer.param_groups for p in group["params"]]
        kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
        self._others = [*kept, *context.model.buffers()]
        self._values = [[tensor.clone() for tensor in tensors] for tensors in (self._trained, self._others)]

    def trained(self) -> bool:
        """Whether a trained tensor has other values now; waits for the device once."""
        changed = [(now != before).any() for now, before in zip(self._trained, self._values[0], strict=True)]
        return bool(torch.stack([one.to(changed[0].device) for one in changed]).any())

    def put_back(self) -> None:
        """Give every tensor its earlier values."""
        with torch.no_grad():
            for tensors, values in zip((self._trained, self._others), self._values, strict=True):
                for tensor, value in zip(tensors, values, strict=True):
                    tensor.copy_(value)


def _constants(optimizer: torch.optim.Optimizer) -> list[dict[str, object]]:
    """What a recording holds of an optimiser's settings: numbers as they are, tensors as objects.

    Without ``peak_lr``, from which the schedule fills the learning rates.
    """
    return [
        {key: _constant(value) for key, value in group.items() if key not in ("params", "peak_lr", "name")}
        for group in optimizer.param_groups
    ]


def _constant(value: Any) -> Any:
    if isinstance(value, Tensor):
        return id(value)
    return tuple(map(_constant, value)) if isinstance(value, list | tuple) else value


def _is_read_by_steps(group: dict[str, Any]) -> bool:
    """Whether a group's learning rate is a tensor where its parameters are; others become constants of a recording."""
    rate = group["lr"]
    return isinstance(rate, Tensor) and all(rate.device == parameter.device for parameter in group["params"])
