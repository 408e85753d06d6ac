"""The arguments that commands share, and the one door for paths that a user writes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def user_path(text: str) -> Path:
    """A path as a user writes it, in an option, a variable or a file: ``~`` and ``~NAME`` are home folders.

    A shell expands neither behind ``=`` nor in a file. Of a name that nobody here has, the path stays as it is, as in
    a shell; ``./~`` is a folder of that name.
    """
    # ``Path("./~")`` forgets how it was written, and ``Path.expanduser`` raises for a home that nobody has.
    return Path(os.path.expanduser(text))  # noqa: PTH111


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE, ``--set``, ``--data-root`` and ``--run-dir``: ``file``, ``assignments``, ``data_root``, ``run_dir``."""
    parser.add_argument("file", type=user_path, metavar="FILE", help="sweep file (YAML)")
    parser.add_argument(
        "--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE",
        help="override a key of the file, e.g. train.epochs=2; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", type=user_path, metavar="DIR",
        help="folder of the raw archives (default: $GPAF_BENCH_DATA, else the user's cache folder)",
    )  # fmt: skip
    parser.add_argument("--run-dir", type=user_path, metavar="DIR", help="run directory (default: runs/NAME)")
