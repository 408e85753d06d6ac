"""Commands of others, run so that none can hold up who asks: no input, limited output, limited time."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

MOST_BYTES = 64 << 20
"""What a command may print: a cluster of 10,000 nodes is described in a sixth of it."""
POLL_SECONDS = 0.05
DRAIN_SECONDS = 1.0
"""How long output is still read after the end of a command whose children keep it open."""
DEATH_SECONDS = 10.0
"""How long the end of a killed process is waited for; one that hangs in the kernel never ends."""


class TooMuchOutput(Exception):
    """A command printed more than it may, and was killed."""


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """What a command left; bytes that are no UTF-8 are replaced."""

    code: int
    """Exit code, negative for a signal."""
    output: str
    errors: str


def run_bounded(
    words: Sequence[str], environment: Mapping[str, str], seconds: float, most_bytes: int = MOST_BYTES
) -> CommandOutput:
    """Run a command to its end, without input; no shell reads its words.

    Args:
        words: program and arguments.
        environment: all of its variables.
        seconds: until it is killed, with everything that it has started in its session.
        most_bytes: of its output, and of its errors, until it is killed.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer.
        TooMuchOutput: it printed more.
    """
    deadline = time.monotonic() + seconds
    process = subprocess.Popen(
        words,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    with process.stdout as stdout, process.stderr as stderr:
        try:
            streams = {stdout.fileno(): bytearray(), stderr.fileno(): bytearray()}
            _read(process, streams, deadline, most_bytes)
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise subprocess.TimeoutExpired(list(words), seconds) from None
        finally:
            _end(process)
        output, errors = (bytes(text).decode(errors="replace") for text in streams.values())
    return CommandOutput(code, output, errors)


def _read(process: subprocess.Popen[bytes], streams: Mapping[int, bytearray], deadline: float, most: int) -> None:
    """Read until all streams end, or the process has and somebody else keeps them open."""
    with selectors.DefaultSelector() as selector:
        for descriptor in streams:
            selector.register(descriptor, selectors.EVENT_READ)
        ended: float | None = None
        while selector.get_map():
            now = time.monotonic()
            if now > deadline:
                raise subprocess.TimeoutExpired(process.args, 0.0)
            if ended is None and process.poll() is not None:
                ended = now
            if ended is not None and now - ended > DRAIN_SECONDS:
                return
            for key, _ in selector.select(POLL_SECONDS):
                part = os.read(key.fd, 1 << 16)
                if not part:
                    selector.unregister(key.fd)
                streams[key.fd].extend(part)
                if len(streams[key.fd]) > most:
                    raise TooMuchOutput


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what still runs; one that hangs in the kernel is left to it."""
    # Once its end was seen, its number may be another group's.
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(DEATH_SECONDS)


def end_killed(process: subprocess.Popen[bytes]) -> bool:
    """Kill a process and close its pipes; False where it does not end, because the kernel or a file system hangs."""
    process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    try:
        process.wait(DEATH_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True
