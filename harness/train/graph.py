"""Training steps as a CUDA graph: recorded once, then replayed without the Python and the launches between kernels.

On an H200 a step of a ResNet-18 on images of 28 pixels takes a quarter of the time, one of a ResNet-50 on 224 pixels
0.96 of it (benchmarks/results).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.method import Method
from harness.spec import TrainSpec
from harness.train.step import StepContext

EAGER_STEPS = 3
"""Steps before the recording: libraries choose their algorithms and the optimiser makes its state."""


def records_steps(
    train: TrainSpec, method: Method, optimizer: str, precision: torch.dtype | None, device: torch.device
) -> bool:
    """Whether a training's steps become a graph.

    Not in float16, whose scaler looks at the gradients, and not with SGD, whose steps torch does not record.
    """
    possible = device.type == "cuda" and optimizer == "adamw" and precision != torch.float16
    return possible and is_capturable(method) and train.step != "plain"


def is_capturable(method: Method) -> bool:
    """Whether the class that wrote the method's training step says that it is always the same."""
    author = next(cls for cls in type(method).__mro__ if "training_step" in vars(cls))
    return bool(vars(author).get("capturable", False))


class GraphedStep:
    """A method's training step that is recorded after its first calls and replayed from then on.

    Where the recording fails, steps go on as they are, and ``log`` is told once.

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
        self._calls = 0
        self._failed = False

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step on a batch, whose shape is always the same; the detached loss."""
        self._calls += 1
        if self._failed or self._calls <= EAGER_STEPS:
            return self._eager(images, labels)
        if self._graph is None and not self._record(images, labels):
            return self._method.training_step(self._context, images, labels)
        assert self._graph is not None and self._images is not None and self._labels is not None
        assert self._loss is not None
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._loss.clone()

    @property
    def recorded(self) -> bool:
        """Whether steps are replayed by now."""
        return self._graph is not None

    def _eager(self, images: Tensor, labels: Tensor) -> Tensor:
        # On a stream of its own, as a recording is: what is allocated at the first use must not belong to another.
        stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(images.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            loss = self._method.training_step(self._context, images, labels)
        current.wait_stream(stream)
        return loss

    def _record(self, images: Tensor, labels: Tensor) -> bool:
        """Record a step; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        self._images, self._labels = images.clone(), labels.clone()
        try:
            # Other threads (checkpoints, leases) may use the device meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._loss = self._method.training_step(self._context, self._images, self._labels)
        except RuntimeError as error:
            self._failed = True
            self._images = self._labels = self._loss = None
            self._log(f"steps are not recorded as a CUDA graph: {error}")
            return False
        self._graph = graph
        return True
