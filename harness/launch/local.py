"""The local launcher: worker processes on this machine, as many as it has devices or fit its cores."""

from __future__ import annotations

import os

from harness.launch.pool import WorkerPool
from harness.spec import LaunchSpec
from harness.store import RunDirectory
from harness.studies import Roots

MOST_ON_CPU = 8


def local_workers(run: RunDirectory, launch: LaunchSpec, roots: Roots) -> WorkerPool:
    """The workers of one launch on this machine, not yet started."""
    devices, count, threads = places(launch)
    name = str(os.getpid())
    share = ["--share", str(launch.trials_per_device)]
    return WorkerPool(run, roots, count, threads, devices, name, run.workers, share)


def places(launch: LaunchSpec) -> tuple[list[str], int, int]:
    """Devices of this machine, workers that a launch has on it, and CPU threads of each."""
    devices = available_devices()
    cores = len(os.sched_getaffinity(0))
    fitting = min(MOST_ON_CPU, cores) if devices == ["cpu"] else len(devices) * launch.trials_per_device
    count = fitting if launch.workers == "auto" else launch.workers
    return devices, count, max(1, cores // count) if launch.threads == "auto" else launch.threads


def available_devices() -> list[str]:
    """Every GPU of this machine, else the CPU."""
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]
