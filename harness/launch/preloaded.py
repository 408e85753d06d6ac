"""A process that has loaded all that workers need, and forks each of them from itself in milliseconds.

What ``harness.launch.load_packages`` becomes when it is told where our code is. It runs no trial, opens no file of a
run and uses no device: threads and what a GPU's driver keeps do not survive a fork. A worker is its grandchild, whose
parent ends at once, so that Linux makes it the launcher's child (see ``harness.launch.starting``); neither dies with
the other.

It reads a request a line, ``{"log": FILE, "arguments": [...]}``, and answers each by a line: the worker's process
id, or the number of the error, negative, for which there is none. No request is left without an answer.
"""

from __future__ import annotations

import errno
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

MODULES = ("harness.work.worker", "harness.train.run", "harness.work.scheduler")
"""What a worker loads of ours before its first step, whatever it trains; packages were loaded before."""

READY = b"ready\n"
WORKER_NAME = "gpaf-worker"
"""What the system calls a forked worker, at most 15 characters: its command line is that of this process."""


def main() -> int:
    """Serve requests until the launcher closes its end; in each worker this returns the worker's exit code."""
    requests, answers = os.dup(0), os.dup(1)
    # Whatever the modules print is no answer.
    os.dup2(2, 1)
    for module in MODULES:
        importlib.import_module(module)
    from harness.plugins import load_builtin

    load_builtin()
    # The pages of what exists by now stay shared: the collector does not write into them any more.
    gc.collect()
    gc.freeze()
    os.write(answers, READY)
    arguments = _serve(requests, answers)
    if arguments is None:
        return 0
    from harness.work.worker import main as work

    return work(arguments)


def _serve(requests: int, answers: int) -> Sequence[str] | None:
    """Fork workers on request; their command line in each of them, None at the end."""
    while line := _line(requests):
        request = json.loads(line)
        try:
            reading, writing = os.pipe()
        except OSError as error:
            os.write(answers, _refusal(error))
            continue
        try:
            between = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            os.write(answers, _refusal(error))
            continue
        if between == 0:
            between = os.getpid()
            try:
                worker = os.fork()
            except OSError as error:
                os.write(writing, _refusal(error))
                os._exit(1)
            if worker != 0:
                os.write(writing, b"%d\n" % worker)
                os._exit(0)
            for descriptor in (requests, answers, reading, writing):
                os.close(descriptor)
            _become_worker(Path(request["log"]), between)
            arguments: list[str] = request["arguments"]
            return arguments
        os.close(writing)
        # Only once it has ended is the worker the launcher's.
        os.waitpid(between, 0)
        said = os.read(reading, 32)
        os.close(reading)
        # Nothing where it was killed before it could say anything.
        os.write(answers, said or b"-%d\n" % errno.ECHILD)
    return None


def _refusal(error: OSError) -> bytes:
    return b"-%d\n" % (error.errno or errno.EAGAIN)


def _line(descriptor: int) -> bytes:
    """The next line, unbuffered, because what is read too much would be lost in the forks; empty at the end."""
    line = b""
    while not line.endswith(b"\n") and (character := os.read(descriptor, 1)):
        line += character
    return line if line.endswith(b"\n") else b""


def _become_worker(log: Path, between: int) -> None:
    """Make this fork what a process started for a worker would be."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for source, target in ((output, 1), (output, 2), (nothing, 0)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)
    Path("/proc/self/comm").write_text(WORKER_NAME)
    # numpy's own generator, which plugins may use, would draw the same numbers in every fork.
    import numpy as np

    np.random.seed()
    while os.getppid() == between:
        time.sleep(0.001)


if __name__ == "__main__":
    sys.exit(main())
