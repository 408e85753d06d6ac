"""The local launcher: worker processes on this machine, as many as it has devices or fit its cores."""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness.launch.packing import Packing, least, most_workers
from harness.launch.pool import WorkerPool, worker_environment
from harness.launch.starting import ProcessStarter, starter
from harness.spec import LaunchSpec
from harness.store import RunDirectory
from harness.studies import Roots

MOST_ON_CPU = 8


def local_workers(
    run: RunDirectory, launch: LaunchSpec, roots: Roots, further: Sequence[Sequence[str]] = ()
) -> WorkerPool:
    """The workers of one launch on this machine, not yet started.

    Args:
        further: for each further node, which is like this one, the beginning of a command that runs the rest there.
    """
    devices, count, threads = places(launch)
    share = ["--share", str(least(launch.trials_per_device))]
    packing = None
    if launch.trials_per_device == "auto" and launch.workers == "auto" and devices != ["cpu"] and not further:
        packing = Packing(most_workers(len(devices), len(os.sched_getaffinity(0))))
    environment = worker_environment(threads)
    starters = [starter(environment), *(ProcessStarter(environment, prefix=prefix) for prefix in further)]
    return WorkerPool(run, roots, count, threads, devices, str(os.getpid()), run.workers, share, starters, packing)


def places(launch: LaunchSpec) -> tuple[list[str], int, int]:
    """Devices of this machine, workers that a launch has on it, and CPU threads of each."""
    devices = available_devices()
    cores = len(os.sched_getaffinity(0))
    fitting = min(MOST_ON_CPU, cores) if devices == ["cpu"] else len(devices) * least(launch.trials_per_device)
    count = fitting if launch.workers == "auto" else launch.workers
    sharing = most_workers(len(devices), cores) if devices != ["cpu"] and launch.trials_per_device == "auto" else 1
    return devices, count, max(1, cores // (count * sharing)) if launch.threads == "auto" else launch.threads


def available_devices() -> list[str]:
    """Every GPU of this machine, else the CPU."""
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]
