"""Worker processes on this machine: as many as it has devices or fit its cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.core.visible_gpus import VARIABLE, devices_of
from harness.launch.loading import Loading
from harness.launch.packing import Packing, least, most_workers
from harness.launch.pool import WorkerPool, unique_name, worker_environment
from harness.launch.starting import ProcessStarter, can_be_forked, starter
from harness.launcher import Places
from harness.run.directory import RunDirectory
from harness.spec.sections import LaunchSpec
from harness.studies.study import Roots

MOST_ON_CPU = 8


def begin_loading(launch: LaunchSpec) -> Loading | None:
    """Let a process load what workers of a launch on this machine will need; None where none could be forked.

    Nothing has to be known of the run yet, and torch is not asked for devices, which takes seconds: if there turn out
    to be others than this system shows, the process is of no use.
    """
    if not can_be_forked():
        return None
    try:
        return Loading(worker_environment(places(launch, _shown_devices()).threads))
    except OSError:
        # No room for another process now; workers tell if there is none later.
        return None


def local_workers(
    run: RunDirectory,
    launch: LaunchSpec,
    roots: Roots,
    further: Sequence[Sequence[str]] = (),
    loading: Loading | None = None,
) -> WorkerPool:
    """The workers of one launch on this machine, not yet started.

    Args:
        loading: what loads packages for them already.
        further: for each further node, which is like this one, the beginning of a command that runs the rest there.
    """
    devices, count, threads = places(launch)
    share = ["--share", str(least(launch.trials_per_device))]
    packing = None
    if launch.trials_per_device == "auto" and launch.workers == "auto" and devices != ["cpu"] and not further:
        packing = Packing(most_workers(len(devices), len(os.sched_getaffinity(0))))
    environment = worker_environment(threads)
    starters = [starter(environment, loading), *(ProcessStarter(environment, prefix=prefix) for prefix in further)]
    return WorkerPool(run, roots, count, threads, devices, unique_name(), run.workers, share, starters, packing)


def places(launch: LaunchSpec, devices: list[str] | None = None) -> Places:
    """Devices of this machine, workers that a launch has on it, and CPU threads of each.

    Args:
        launch: the launch.
        devices: of this machine; None to ask torch for them.
    """
    devices = available_devices() if devices is None else devices
    cores = len(os.sched_getaffinity(0))
    fitting = min(MOST_ON_CPU, cores) if devices == ["cpu"] else len(devices) * least(launch.trials_per_device)
    count = fitting if launch.workers == "auto" else launch.workers
    sharing = most_workers(len(devices), cores) if devices != ["cpu"] and launch.trials_per_device == "auto" else 1
    threads = max(1, cores // (count * sharing)) if launch.threads == "auto" else launch.threads
    return Places(devices, count, threads)


def available_devices() -> list[str]:
    """Every GPU of this machine, else the CPU."""
    import torch

    count = torch.cuda.device_count()
    # Of several MIG instances CUDA shows torch one.
    named = devices_of(os.environ.get(VARIABLE), count)
    found = named if count == 1 and len(named) > 1 and named[0] != "cuda:0" else devices_of(None, count)
    return found or ["cpu"]


def _shown_devices() -> list[str]:
    """What ``available_devices`` will probably say, without torch."""
    count = sum(1 for _ in Path("/dev").glob("nvidia[0-9]*"))
    named = devices_of(os.environ.get(VARIABLE), count)
    return (named if count and named and named[0].startswith("MIG-") else named[:count]) or ["cpu"]
