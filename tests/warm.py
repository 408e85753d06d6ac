"""Commands as forks of one process that has loaded other people's packages: a start takes a moment, not seconds.

For tests that look at what a command does and not at how its process begins. `warm` makes a command line of
``python -m …`` or ``python -c …`` one that does the same in a fork: a process of its own with the given environment,
folder and streams, which imports our code anew, and whose end, by an exit code or a signal, is that of the command.
Processes that it starts by ``python`` in turn are forks of itself, with our code forgotten.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from sketches import empty_figures

CLIENT = Path(__file__).with_name("warm_client.py")
PACKAGES = (
    *("optuna", "torch._dynamo", "torchvision", "safetensors.torch", "pydantic", "yaml", "rich.live", "rich.progress"),
    *("polars", "scipy.stats", "sklearn.datasets", "jinja2"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_pdf"),
)
"""What takes the time of a start. None of them starts a thread when it is loaded."""
OURS = ("harness", "analysis", "methods", "datasets", "benchmarks", "slurm")
EMPTY_FIGURES = {"GPAF_TEST_EMPTY_FIGURES": "1"}
"""Variables of a sweep command whose report nobody looks at: see ``sketches``."""
Words = Sequence[str]

_server: tuple[subprocess.Popen[bytes], str] | None = None


def warm(command: Words) -> list[str]:
    """The same command, run by a fork of the process that has loaded the packages; that is started at the first use.

    Args:
        command: this interpreter's path, and ``-m MODULE …``, ``-c PROGRAM …`` or the path of a script.
    """
    global _server
    interpreter, *words = command
    assert interpreter == sys.executable
    if _server is None:
        folder = tempfile.TemporaryDirectory(prefix="gpaf-warm-")
        place = f"{folder.name}/s"
        reading, writing = os.pipe()
        # What an earlier sweep in this process told Python of its own workers would hide this file's neighbours.
        own = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        variables = {**own, "GPAF_WARM_READY": str(writing)}
        process = subprocess.Popen(
            [sys.executable, __file__, place],
            stdin=subprocess.PIPE, pass_fds=[writing], env=variables, cwd="/", start_new_session=True,
        )  # fmt: skip
        os.close(writing)
        assert os.read(reading, 1) == b"r", "the process that commands are forked from did not start"
        os.close(reading)
        _server = process, place
        atexit.register(_stop, process, folder)
    return [sys.executable, "-IS", str(CLIENT), _server[1], *words]


def _stop(process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    folder.cleanup()


def main(place: str) -> None:
    """Load the packages, and fork until standard input is closed."""
    for package in PACKAGES:
        importlib.import_module(package)
    # Nothing is flushed, as in the tests' own process.
    os.fsync = lambda fd: None  # type: ignore[assignment]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # The pages of what exists by now stay shared: the collector does not write into them any more.
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen(64)
        ready = int(os.environ.pop("GPAF_WARM_READY"))
        os.write(ready, b"r")
        os.close(ready)
        while listening in select.select([listening, 0], [], [])[0]:
            connection = listening.accept()[0]
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                command = _serve(connection)
                break
            connection.close()
        else:
            return
    # Not back to the caller, through the end of an interpreter that frees all that the packages hold.
    command()


def _serve(connection: socket.socket) -> Callable[[], None]:
    """In a fork for one command: fork it, hand signals on to it, tell its end. Returns in the command's own process."""
    descriptors = array.array("i")
    header, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * descriptors.itemsize))
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    with connection.makefile("rb") as stream:
        request = json.loads(stream.read(int(header)))
    if (child := os.fork()) == 0:
        connection.close()
        os.setpgid(0, 0)
        for target in range(3):
            # -1: closed where the command was given.
            found = request["streams"][target]
            os.close(target) if found < 0 else os.dup2(descriptors[found], target)
        for descriptor in descriptors:
            os.close(descriptor)
        return partial(_run, request["words"], request["environment"], request["folder"], request["ignored"])
    ended = os.pidfd_open(child)
    while True:
        ready = select.select([connection, ended], [], [])[0]
        if ended in ready:
            break
        number = connection.recv(1)
        with contextlib.suppress(ProcessLookupError):
            # Nothing: whoever gave the command was killed.
            os.kill(child, number[0] if number else signal.SIGKILL)
        if not number:
            os.waitpid(child, 0)
            os._exit(0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os._exit(0)


def _run(words: Words, environment: Mapping[str, str], folder: str | None = None, ignored: Words = ()) -> NoReturn:
    """Do in this process what an interpreter does that is started with these words and variables; to its very end."""
    code: Any = 0
    interrupted = False
    try:
        # What the process that was forked wanted to be done at its end is its own.
        atexit._clear()
        _become(environment, folder, ignored)
        _execute(words)
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:  # noqa: BLE001  (as an interpreter shows whatever ends it)
        sys.excepthook(type(error), error, error.__traceback__)
        code, interrupted = 1, isinstance(error, KeyboardInterrupt)
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if not _flush_streams():
        code = 120
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    # Without freeing all that the packages hold, which takes seconds.
    os._exit(code or 0)


def _become(environment: Mapping[str, str], folder: str | None, ignored: Words) -> None:
    os.environ.clear()
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        plain = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number.name in ignored else plain)
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    _open_streams()
    import numpy as np

    np.random.seed()
    subprocess.Popen = Forked  # type: ignore[misc]


def _execute(words: Words) -> None:
    safe = words[0] == "-P"
    kind, *rest = words[safe:]
    own = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    sys.path[:] = [*([] if safe else [str(Path.cwd()) if kind == "-m" else ""]), *own, *INSTALLED]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if rest[:1] == ["harness.sweep"] and EMPTY_FIGURES.items() <= os.environ.items():
        empty_figures().__enter__()
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = [kind, *rest]
        runpy.run_path(kind, run_name="__main__")


def _open_streams() -> None:
    """Streams for what 0, 1 and 2 are now, by the variables that an interpreter reads."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream: Any = None
        with contextlib.suppress(OSError):
            os.fstat(number)
            raw = open(number, "wb" if number else "rb", buffering=0 if number and at_once else -1, closefd=False)  # noqa: SIM115
            how = "backslashreplace" if number == 2 else errors or "strict"
            stream = io.TextIOWrapper(raw, encoding, how, line_buffering=number == 2, write_through=at_once)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _flush_streams() -> bool:
    """Whether all that was printed got out; otherwise that is said, as an interpreter says it at its end."""
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except Exception as error:  # noqa: BLE001
        with contextlib.suppress(Exception):
            print(f"Exception ignored in: {sys.stdout!r}\n{type(error).__name__}: {error}", file=sys.stderr)
        return False
    return True


class Forked(subprocess.Popen[Any]):
    """A process that runs this interpreter is a fork of this one, before that has threads; others start as always."""

    def __init__(self, args: Any, **options: Any) -> None:
        environment = dict(os.environ if options.get("env") is None else options["env"])
        # What is to be loaded before everything else has to be: that is a start from scratch.
        alike = all(environment.get(name) == os.environ.get(name) for name in ("LD_PRELOAD", "OMP_NUM_THREADS"))
        # A fork has none of this process's threads, and would wait for them for ever.
        alone = len(list(Path("/proc/self/task").iterdir())) == 1
        if alike and alone and isinstance(args, list) and args[0] == sys.executable and args[1] in ("-P", "-m"):
            # Never returns, so that nothing is executed in its place.
            options["preexec_fn"] = partial(_alone, args[1:], environment)
        super().__init__(args, **options)


def _alone(words: Words, environment: Mapping[str, str]) -> NoReturn:
    # The starting process waits until the last of its descriptors here is closed.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _run(words, environment)


INSTALLED: list[str] = []
"""The interpreter's own part of ``sys.path``."""

if __name__ == "__main__":
    own = {Path(part).resolve() for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part}
    INSTALLED[:] = [part for part in sys.path[1:] if Path(part).resolve() not in own]
    main(sys.argv[1])
