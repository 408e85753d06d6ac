"""The arguments that commands share, and the one door for paths that a user writes."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import EXIT_BAD_REQUEST, RequestError, one_line
from harness.core.output import complain, finish, prepare


def user_path(text: str) -> Path:
    """A path as a user writes it, in an option, a variable or a file: ``~`` and ``~NAME`` are home folders.

    A shell expands neither behind ``=`` nor in a file. Of a name that nobody here has, the path stays as it is, as in
    a shell; ``./~`` is a folder of that name.
    """
    # ``Path("./~")`` forgets how it was written, and ``Path.expanduser`` raises for a home that nobody has.
    return Path(os.path.expanduser(text))  # noqa: PTH111


def interval(text: str) -> float:
    """Seconds from one look at a run to the next, as a user writes them.

    Raises:
        argparse.ArgumentTypeError: it is no number above 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0; name the run directory first")
    return value


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of a command line.

    Raises:
        SystemExit: help was asked for, or something is wrong, which takes one line on standard error.
    """
    prepare()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parser.parse_args(argv)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_BAD_REQUEST
        usage, marked, problem = said.getvalue().rpartition(": error: ")
        if marked:
            command = usage.rpartition("\n")[2]
            complain(f"error: {one_line(problem)}; {command} --help says what there is")
        raise SystemExit(finish(code)) from None


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE, ``--set``, ``--data-root`` and ``--run-dir``: ``file``, ``assignments``, ``data_root``, ``run_dir``."""
    add_file_arguments(parser)
    parser.add_argument("--run-dir", type=user_path, metavar="DIR", help="run directory (default: runs/NAME)")


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE, ``--set`` and ``--data-root``: ``file``, ``assignments``, ``data_root``."""
    parser.add_argument("file", type=user_path, metavar="FILE", help="sweep file (YAML)")
    parser.add_argument(
        "--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE",
        help="override a key of the file, e.g. train.epochs=2; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", type=user_path, metavar="DIR",
        help="folder of the raw archives (default: $GPAF_BENCH_DATA, else the user's cache folder)",
    )  # fmt: skip


def add_reuse_arguments(parser: argparse.ArgumentParser, device: str = "the first GPU, else the CPU") -> None:
    """Add ``--code``, ``--plugins``, ``--data-root`` and ``--device``, for a command that uses trials of a run.

    Args:
        parser: of the command.
        device: the default one, in words.
    """
    parser.add_argument("--code", action="store_true", help="import the plugins that the run names, if you trust it")
    parser.add_argument(
        "--plugins", action="append", default=[], type=user_path, metavar="DIR",
        help="import the plugins of this folder in place of those that the run names; may be repeated",
    )  # fmt: skip
    parser.add_argument("--data-root", type=user_path, metavar="DIR", help="folder of the raw archives")
    parser.add_argument("--device", help=f"cpu or cuda:N (default: {device})")


def check_out(path: Path, run: Path | None, endings: Sequence[str]) -> None:
    """Refuse ``--out FILE`` of a command that only reads a run, before it computes anything.

    Args:
        path: the file to write.
        run: the run directory; None where the command reads none.
        endings: of its name, in lower case, as ``.csv``; two at least.

    Raises:
        RequestError: the ending is another one, the folder is missing, or the file would be inside the run.
    """
    if path.suffix.lower() not in endings:
        raise RequestError(f"--out {path}: ends in neither {' nor '.join(endings)}; choose one of these endings")
    if run is not None and path.resolve().is_relative_to(run.resolve()):
        raise RequestError(f"--out {path}: is inside the run directory, which is only read; choose another place")
    if not path.parent.is_dir():
        raise RequestError(f"--out {path}: there is no folder {path.parent}; make it first")
