"""Work that several processes share."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, TypeVar

from harness.core.errors import RequestError

T = TypeVar("T")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


class Pool:
    """Processes that do what they are given, in this order; with one worker this process does it at once.

    They are spawned at the first task, so a script that asks for more than one needs the usual
    ``if __name__ == "__main__":``. Functions and arguments must be picklable.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int = 1) -> None:
        self._executor: ProcessPoolExecutor | None = None
        if workers > 1:
            spawn = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_prepare)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
        """Begin a task; what is returned waits for its result, or raises what it raised."""
        if self._executor is None:
            value = function(*arguments)
            return lambda: value
        return _Waiting(self._executor.submit(function, *arguments), function, arguments)


class _Waiting:
    def __init__(self, future: Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._future, self._function, self._arguments = future, function, arguments

    def __call__(self) -> Any:
        try:
            return self._future.result()
        except (RequestError, BrokenProcessPool):
            # On its way from another process an error loses its words, and a process may have been killed for want
            # of memory: done again here, the task gives its result or its own error.
            return self._function(*self._arguments)


HERE = Pool()
"""This process alone."""


def cores() -> int:
    """Cores that this process may use; 1 where it may not start processes."""
    if multiprocessing.current_process().daemon:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare() -> None:
    """A process a core is enough; each with a thread a core as well would only get in the others' way.

    The garbage collector looks for cycles a hundred times less often: drawings and records are many small objects, and
    to go through them again and again takes a twentieth of the time.
    """
    gc.set_threshold(70_000, 10, 10)
    for name in _THREADS:
        os.environ.setdefault(name, "1")
