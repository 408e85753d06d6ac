"""Recording work on a GPU as a CUDA graph, so that a failure leaves the process as it was before."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator

import torch

_EMPTY = "CUDA Graph is empty"
"""What torch only warns of: the work went to another device or stream, and a replay does nothing."""


class EmptyCaptureError(RuntimeError):
    """Nothing was recorded."""


@functools.cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """The one stream of this process on a device beside the current one.

    torch keeps freed memory, and cuBLAS a workspace, for each stream: another one for each step reserves a multiple.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def on_side_stream(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """Work on ``side_stream``, after all that the current one has and before all that it gets."""
    stream, current = side_stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield stream
    current.wait_stream(stream)


@contextlib.contextmanager
def capture(device: torch.device) -> Iterator[torch.cuda.CUDAGraph]:
    """Record what is done within as the graph that is given; nothing of it is computed yet.

    Where that fails, stream, random generator and allocator are as before: torch leaves them in the capture if ending
    it raises, and random numbers, freed memory and every later step would then go wrong.

    Raises:
        EmptyCaptureError: nothing was recorded.
    """
    graph, index, pool = torch.cuda.CUDAGraph(), _index(device), torch.cuda.graph_pool_handle()
    noted: list[warnings.WarningMessage] = []
    with restoring_generator(device), on_side_stream(device) as stream:
        try:
            with warnings.catch_warnings(record=True) as noted:
                warnings.simplefilter("always")
                # Other threads (checkpoints, leases) may use the device meanwhile.
                recording = torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local")
                with recording:
                    yield graph
        except BaseException:
            _leave_pool(index, pool)
            raise
        if any(_EMPTY in str(one.message) for one in noted):
            raise EmptyCaptureError("the graph is empty: its work went to another device or stream")
    for one in noted:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@contextlib.contextmanager
def restoring_generator(device: torch.device) -> Iterator[None]:
    """Put the device's random generator back where it was, if what is done within raises."""
    generators = torch.cuda.default_generators
    if not generators:
        yield
        return
    generator = generators[_index(device)]
    before = generator.clone_state()
    try:
        yield
    except BaseException:
        # Not its numbers alone: the state that a failed capture leaves takes itself for capturing for ever.
        generator.graphsafe_set_state(before)
        raise


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _leave_pool(index: int, pool: tuple[int, int]) -> None:
    """Take the allocator out of a capture whose end has failed, and give the capture's memory back."""
    # It raises where the capture did end; the graph then gives the memory back itself.
    with contextlib.suppress(RuntimeError, AttributeError):
        torch._C._cuda_endAllocateToPool(index, pool)
        torch._C._cuda_releasePool(index, pool)
