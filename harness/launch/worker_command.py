"""The command line that starts one worker."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.launch.packing import least

if TYPE_CHECKING:
    from harness.launcher import Launch
    from harness.run.directory import RunDirectory
    from harness.studies.study import Roots

WORKER = "harness.work.worker"


def worker_arguments(
    run: RunDirectory,
    roots: Roots,
    threads: int,
    device: str | None = None,
    parent: int | None = None,
    report: Path | None = None,
    further: Sequence[str] = (),
) -> list[str]:
    """What follows ``python -m harness.work.worker``.

    Args:
        run: the run directory.
        roots: where the data are.
        threads: CPU threads of a trial.
        device: ``cpu``, ``cuda:N`` or the name of a MIG instance; None says nothing.
        parent: process id of the launcher, on the same machine, with which the worker ends; None: it does not.
        report: a file for what the worker is at.
        further: more arguments.
    """
    return [
        str(run.path),
        *(["--device", device] if device is not None else []),
        "--threads", str(threads),
        *(["--parent", str(parent)] if parent is not None else []),
        "--data-root", str(roots.data),
        "--cache-root", str(roots.cache),
        *(["--report", str(report)] if report is not None else []),
        *further,
    ]  # fmt: skip


def worker_command(
    launch: Launch,
    device: str = "cpu",
    threads: int = 1,
    parent: int | None = None,
    until: float = math.inf,
) -> list[str]:
    """The command line that starts one worker of a launch with the Python of this process.

    As many of them may use a device as the sweep's ``launch.trials_per_device`` says.

    The worker runs trials until nothing is left and then ends with exit code 0. SIGTERM makes it write a checkpoint,
    give its trial back and end with exit code 75. Exit code 2: it cannot go on, and its log says why.

    Args:
        launch: the run and where its data are.
        device: ``cpu``, ``cuda:N`` or the name of a MIG instance.
        threads: CPU threads of a trial.
        parent: process id of whatever starts the worker on the same machine, with which it ends; None: it does not.
        until: end of its time, seconds since the epoch.
    """
    share = least(launch.spec.launch.trials_per_device)
    further = ["--share", str(share), *([] if until == math.inf else ["--until", str(until)])]
    arguments = worker_arguments(launch.run, launch.roots, threads, device, parent, further=further)
    return [sys.executable, "-m", WORKER, *arguments]
