"""Being connected to a Ray cluster."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from harness.core.errors import RequestError, one_line
from harness.ray.tuning import prepare_tune

JOIN_SECONDS = 120.0


@contextmanager
def connected(address: str, nodes: int, stop: threading.Event) -> Iterator[None]:
    """Be connected to a cluster, once all of its nodes are there.

    Args:
        address: of the cluster.
        nodes: how many there are to be.
        stop: ends the waiting.

    Raises:
        RequestError: the cluster does not answer, or nodes are missing.
    """
    prepare_tune()
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise RequestError(f"no connection to Ray at {address}: {one_line(str(error))[:200]}") from error
    try:
        deadline = time.monotonic() + JOIN_SECONDS
        while (alive := _alive()) < nodes and not stop.wait(0.5):
            if time.monotonic() > deadline:
                raise RequestError(f"only {alive} of {nodes} nodes have joined Ray after {JOIN_SECONDS:.0f} s")
        yield
    finally:
        ray.shutdown()


def _alive() -> int:
    found = ray.nodes()  # type: ignore[no-untyped-call]
    return sum(bool(node["Alive"]) for node in found)
