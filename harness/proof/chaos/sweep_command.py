"""The sweep that is disturbed, and the undisturbed one that it is compared with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError
from harness.run.directory import RunDirectory

UNLIMITED_RETRIES = 1000
"""As often as a sweep file may say: more deaths of one trial in a row than any proof brings about."""


def sweep_command(file: Path, run_dir: Path, extra: Sequence[str]) -> list[str]:
    """The command line of a sweep that may lose workers without limit."""
    retries = f"launch.retries={UNLIMITED_RETRIES}"
    words = ["harness.sweep", str(file), "--run-dir", str(run_dir), "--set", retries]
    return [sys.executable, "-m", *words, *extra]


def run_undisturbed(file: Path, run_dir: Path, extra: Sequence[str]) -> RunDirectory:
    """Run the sweep to its end.

    Raises:
        RequestError: it ended with an error.
    """
    done = subprocess.run(sweep_command(file, run_dir, extra), capture_output=True, text=True)
    # Python ends with the code of failed trials after a traceback, too.
    if done.returncode not in (EXIT_DONE, EXIT_SOME_FAILED) or "Traceback" in done.stderr:
        raise RequestError(f"the undisturbed run ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    return RunDirectory(run_dir)
