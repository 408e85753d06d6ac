"""The arguments that commands about a sweep file share."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE, ``--set``, ``--data-root`` and ``--run-dir``: ``file``, ``assignments``, ``data_root``, ``run_dir``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="sweep file (YAML)")
    parser.add_argument(
        "--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE",
        help="override a key of the file, e.g. train.epochs=2; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR",
        help="folder of the raw archives (default: $GPAF_BENCH_DATA, else the user's cache folder)",
    )  # fmt: skip
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="run directory (default: runs/NAME)")
