"""Signals that ask this process to stop, for work that looks now and then whether it should."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def asked_to_stop(*further: signal.Signals) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, in place of what they did before and do again afterwards.

    In the main thread.

    Args:
        further: other signals that set it.
    """
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, *further)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
