"""Several processes of one machine that share the models of a run: leases tell them who scores which."""

from __future__ import annotations

import multiprocessing
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from harness.core.errors import EXIT_DONE, EXIT_INTERRUPTED, RequestError
from harness.core.stopping import asked_to_stop
from harness.core.visible_gpus import take_device
from harness.launch.this_machine import available_devices

POLL_SECONDS = 0.2


def devices(given: str | None, workers: int) -> list[str]:
    """What ``take_device`` takes in each process: the device that is given, else every GPU in turn, else the CPU."""
    own = available_devices() if given is None else [given]
    return [own[place % len(own)] for place in range(workers)]


def score_in_processes(share: Callable[[Namespace, str], int], arguments: Namespace, places: Sequence[str]) -> int:
    """Have processes share the work until nothing is left; the exit code.

    Where one ends with an error, or this one is told to stop, all others stop after the batch that they are at.

    Args:
        share: what each does, from the command line and its device to its exit code; can be pickled.
        arguments: of the command line.
        places: the device of each, as ``devices`` gives them.

    Raises:
        RequestError: a process was killed.
    """
    # A fork would inherit what torch has begun.
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run, args=(share, arguments, place)) for place in places]
    begun: list[BaseProcess] = []
    failed = None
    with asked_to_stop() as stopped:
        try:
            for process in processes:
                process.start()
                begun.append(process)
            while (alive := [one.sentinel for one in begun if one.is_alive()]) and not (failed or stopped.is_set()):
                wait(alive, POLL_SECONDS)
                failed = _failed(begun)
            # The last ones may have ended after they were looked at.
            failed = failed or _failed(begun)
        finally:
            for one in begun:
                one.terminate()
                one.join()
    if failed is not None and failed < 0:
        raise RequestError(
            f"a process was ended by signal {-failed} (9: often for want of memory); run the same command again with "
            "fewer --workers"
        )
    return EXIT_INTERRUPTED if stopped.is_set() else failed or EXIT_DONE


def _failed(processes: Sequence[BaseProcess]) -> int | None:
    return next((one.exitcode for one in processes if one.exitcode), None)


def _run(share: Callable[[Namespace, str], int], arguments: Namespace, place: str) -> None:
    sys.exit(share(arguments, take_device(place)))
