"""A network's forward and backward pass as kernels that torch.compile makes of it, as one graph without a break.

Loss, optimiser and what a method does around them stay as they are, so that a step may still be recorded as a CUDA
graph. What is compiled follows from the network, its constants, the shapes and the number of threads alone: not from
what else the process has compiled (no dynamic shapes), nor from a clock (nothing is timed that changes sums).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.core.errors import one_line
from harness.method import Method
from harness.networks.backbones import Model
from harness.train.job import out_of_memory

if TYPE_CHECKING:
    from harness.train.step import StepContext

_OPTIONS = ("fallback_random", "deterministic")
"""Of torch's compiler: random numbers as without it; nothing is timed that changes the last bits."""
_functions: dict[type[Method], Callable[[Model, Tensor], Tensor]] = {}


class CompiledNetwork:
    """What ``model(images)`` computes, compiled at the first call for the images' shape.

    A second network of the same structure finds the first one's kernels, in this process or, by torch's cache on the
    disk, in another one.

    Args:
        model: in training mode.
        method: the class of the method that has changed it.
        log: takes a line.
    """

    def __init__(self, model: Model, method: type[Method], log: Callable[[str], None]) -> None:
        self.model, self._method, self._log = model, method, log
        self.works = True
        """Whether it is compiled as far as is known; else calls go to the model itself."""
        self.seconds = 0.0
        """Of the compiling."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (batch, classes) of images (batch, 3, size, size)."""
        if self.works:
            try:
                return self._compiled(images)
            except Exception as error:  # whatever the compiler stumbles over, the model itself may run
                if out_of_memory(error) is not None:
                    raise
                self.give_up(error)
        logits: Tensor = self.model(images)
        return logits

    def give_up(self, error: Exception) -> None:
        """Leave the compiled network for the model itself."""
        self.works = False
        self._log(f"steps are not compiled: {one_line(f'{type(error).__name__}: {error}')[:300]}")

    def _compiled(self, images: Tensor) -> Tensor:
        from torch._dynamo.exc import FailOnRecompileLimitHit

        try:
            return _function(self._method)(self.model, images)
        except FailOnRecompileLimitHit:
            # Networks before this one, of other structures or constants, have used the limit up, and their graphs stay
            # in memory until all is forgotten; what is wanted again comes from the disk.
            torch._dynamo.reset()
            _functions.clear()
            return _function(self._method)(self.model, images)


def compile_network(
    context: StepContext, method: Method, images: Tensor, labels: Tensor, cache: Path | None, log: Callable[[str], None]
) -> CompiledNetwork:
    """Compile a training's network, forward and backward; nothing of the training changes.

    Args:
        context: of the training, its network in training mode and without gradients.
        images: of the next step, as ``labels``.
        cache: folder below which later processes find the kernels; None for torch's own.
        log: told how long it took, or why it is impossible; the network then ``works`` no more.
    """
    _keep_kernels_in(cache)
    model = context.model
    network = CompiledNetwork(model, type(method), log)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    began = time.perf_counter()
    context.compiled = network
    try:
        context.loss(images, labels).backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # the backward pass is compiled when it is first run
        if out_of_memory(error) is not None:
            raise
        network.give_up(error)
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
    network.seconds = time.perf_counter() - began
    if network.works:
        log(f"network compiled in {network.seconds:.1f} s")
    return network


def _keep_kernels_in(cache: Path | None) -> None:
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # torch itself may have put its own folder there; a user's stays.
    given = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if cache is not None and os.access(cache, os.W_OK) and given in (None, default_cache_dir()):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "compiled")


def _function(method: type[Method]) -> Callable[[Model, Tensor], Tensor]:
    """The compiled function of all networks of a method; torch counts what it compiles by a function's code."""
    import torch._inductor.config as inductor

    if method not in _functions:
        own = FunctionType(_network.__code__.replace(), _network.__globals__, _network.__name__)
        options: dict[str, str | int | bool | Callable[..., object]] = {
            name: True for name in _OPTIONS if hasattr(inductor, name)
        }
        _functions[method] = torch.compile(own, fullgraph=True, dynamic=False, options=options)
    return _functions[method]


def _network(model: Model, images: Tensor) -> Tensor:
    logits: Tensor = model(images)
    return logits
