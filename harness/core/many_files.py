"""Looking at many small files at once where each takes its time, as on a cluster's file system.

On a local disk threads would only be in each other's way, so a few are read first to see how long one is waited for.
"""

from __future__ import annotations

import gc
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

AT_ONCE = 128
"""A file server answers so many questions in the time of one."""
TRIED = 2
MANY = 1000
SLOW_SECONDS = 5e-4
"""Who waits longer than this for one answer had better ask many at once."""

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def each(look: Callable[[_Item], _Found], items: Sequence[_Item]) -> list[_Found]:
    """What ``look`` finds for each item, in their order; it may be called by several threads.

    Raises:
        Exception: the first that ``look`` raises.
    """
    found: list[_Found] = []
    waits: list[float] = []
    with _no_collection(len(items)):
        for item in items[:TRIED]:
            with _timed(waits):
                found.append(look(item))
        return found + _looked(look, items[TRIED:], min(waits, default=0.0))


def waits_for(folder: Path) -> float:
    """Seconds that one waits to be told whether a file is in a folder."""
    waits: list[float] = []
    for _ in range(TRIED):
        # Of a name that was asked for before, a file server is not asked again.
        path = folder / f".{secrets.token_hex(6)}"
        with _timed(waits):
            path.exists()
    return min(waits)


@contextmanager
def _timed(waits: list[float]) -> Iterator[None]:
    """Add the seconds that were waited, without those of work."""
    started, busy = time.perf_counter(), time.thread_time()
    yield
    waits.append((time.perf_counter() - started) - (time.thread_time() - busy))


def _looked(look: Callable[[_Item], _Found], rest: Sequence[_Item], wait: float) -> list[_Found]:
    if not rest or wait < SLOW_SECONDS:
        return [look(item) for item in rest]
    # In portions: handing over one item at a time would cost as much as looking at it. No more portions than threads
    # where few are enough, because the rest would wait for a whole round.
    size = min(8, math.ceil(len(rest) / AT_ONCE))
    portions = [rest[start : start + size] for start in range(0, len(rest), size)]
    left = iter(range(len(portions)))
    found: dict[int, list[_Found]] = {}
    failed: dict[int, Exception] = {}

    def work() -> None:
        for number in left:
            try:
                found[number] = [look(item) for item in portions[number]]
            except Exception as error:  # noqa: BLE001  (raised again where all end)
                failed[number] = error
                return

    # An executor's futures would take a fifth of the time.
    threads = [threading.Thread(target=work, name="read") for _ in range(min(AT_ONCE, len(portions)))]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            try:
                thread.start()
            except RuntimeError:
                # Beyond a limit of processes those that there are do it, and this one.
                work()
                break
            started.append(thread)
        for thread in started:
            thread.join()
    finally:
        # Interrupted, they end with what they are at.
        for _ in left:
            pass
    if failed:
        raise failed[min(failed)]
    return [one for number in range(len(portions)) for one in found[number]]


@contextmanager
def _no_collection(items: int) -> Iterator[None]:
    """Let the garbage collector rest: what is read holds no cycles, and looking for them takes a third of the time.

    Nor does it look through much that was read ever again, which mostly stays as long as the process.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if items >= MANY:
                gc.freeze()
            gc.enable()
