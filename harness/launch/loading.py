"""A process that loads packages while it is not decided yet what it will run."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.launch.bounded import end_killed

SCRIPT = Path(__file__).with_name("load_packages.py")


class Loading:
    """``harness.launch.load_packages``, begun at once.

    Args:
        environment: variables of the process; those that packages read while they are loaded stay as they are here.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._threads = environment.get("OMP_NUM_THREADS")
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            # Whatever lies in the current folder, or beside the script, is no package.
            [sys.executable, "-P", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Whether it may become a process with these variables: arithmetic has as many threads."""
        return self._process is not None and self._threads == environment.get("OMP_NUM_THREADS")

    def become(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Let it go on as ``harness.launch.preloaded`` with these variables; it is the caller's from now on."""
        process, self._process = self._process, None
        assert process is not None and process.stdin is not None
        # Where it has ended, the first request finds that out.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(dict(environment)).encode() + b"\n")
        return process

    def close(self) -> None:
        """End it, unless it has become something else."""
        if self._process is not None:
            end_killed(self._process)
            self._process = None
