"""Workers for a sweep whose slots are handed out by Ray Tune.

Backbones are trained and choices confirmed by the same workers as in any other sweep. In between, a Ray cluster has
the machine, or all nodes of the Slurm allocation that the sweep was started in, to itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.core.errors import RequestError
from harness.core.lease import claim, keep_alive
from harness.launch.foreground import ForegroundLauncher
from harness.launch.packing import least
from harness.launch.pool import WorkerPool, unique_name, worker_environment
from harness.launch.slurm.commands import call
from harness.launch.starting import ProcessStarter
from harness.launch.this_machine import local_workers
from harness.launcher import Launch
from harness.ray.cluster import RayCluster
from harness.ray.node import LOOPBACK, NodeRecord
from harness.run.directory import RunDirectory
from harness.spec.sections import LaunchSpec
from harness.studies.study import Roots
from harness.work.scheduler import Scheduler
from harness.work.worker import load_studies

MOST_BREAKDOWNS = 3
"""A cluster that breaks down so often in a row is not started again."""


class RayLauncher(ForegroundLauncher):
    """Processes on this machine or all nodes of the allocation, which Ray has to itself while it searches."""

    def workers(self, launch: Launch) -> RayWorkers:
        """Pools of processes, with a Ray cluster in between."""
        return RayWorkers(launch.run, self.settings, launch.roots, *nodes_of_allocation())


class RayWorkers:
    """The workers of one launch: a pool of processes, a Ray cluster with drivers, then a pool again.

    Args:
        further: for each further node of the cluster, the beginning of the command that starts something there.
        address: of this node, where there are further ones.
    """

    def __init__(
        self,
        run: RunDirectory,
        launch: LaunchSpec,
        roots: Roots,
        further: Sequence[Sequence[str]] = (),
        address: str = LOOPBACK,
    ) -> None:
        self._run, self._launch, self._roots = run, launch, roots
        self._further, self._folder = further, run.engine_folder()
        self._pool = self._new_pool()
        self._pooled = False
        gpus = 0 if self._pool.devices == ["cpu"] else len(self._pool.devices)
        self._share = least(launch.trials_per_device) if gpus else 0
        self._cluster = RayCluster(
            folder=self._folder,
            log=run.worker_log,
            cpus=self._pool.count * self._pool.threads,
            gpus=gpus,
            further=further,
            address=address,
        )
        self._held: ExitStack | None = None
        self._drivers: WorkerPool | None = None
        self._breakdowns = 0

    @property
    def count(self) -> int:
        """How many trials run at a time."""
        return self._pool.count * self._cluster.nodes

    def start(self) -> None:
        """Start what is due first."""
        plan = self._run.plan()
        spec, studies = load_studies(self._run, self._roots)
        self._scheduler = Scheduler.of(self._run, spec, studies, plan=plan)
        self.poll()

    def poll(self) -> bool:
        """Keep running what is due; False when nothing is left to do.

        Raises:
            RequestError: workers, drivers or Ray cannot go on.
        """
        if not self._scheduler.open_sources() and self._scheduler.to_be_driven():
            if self._pooled:
                self._pool.stop(lambda line: None)
                self._pool, self._pooled = self._new_pool(), False
            self._drive()
            return True
        self._end_ray(lambda line: None)
        if not self._pooled:
            self._pooled = True
            self._pool.start()
        return self._pool.poll()

    def pause(self) -> None:
        """Wait a moment, or until a process ends."""
        (self._drivers or self._pool).pause()

    def stop(self, notify: Callable[[str], None]) -> None:
        """End everything in order; running trials write checkpoints."""
        try:
            self._pool.stop(notify)
        finally:
            self._end_ray(notify)

    def _drive(self) -> None:
        """Start the cluster and its drivers, unless another sweep of this run has one, and keep them going."""
        if self._held is None:
            lease = claim(self._folder)
            if lease is None:
                return
            self._held = ExitStack()
            self._held.callback(lease.release, "ended")
            self._held.enter_context(keep_alive(lease))
            self._cluster.start()
        try:
            head = self._cluster.poll()
        except RequestError:
            self._breakdowns += 1
            if self._breakdowns == MOST_BREAKDOWNS:
                raise
            self._end_ray(lambda line: None)
            return
        if head is not None:
            if self._drivers is None:
                self._drivers = self._new_drivers(head)
                self._drivers.start()
            if not self._drivers.poll():
                self._drivers = None

    def _new_pool(self) -> WorkerPool:
        return local_workers(self._run, self._launch, self._roots, self._further)

    def _new_drivers(self, head: NodeRecord) -> WorkerPool:
        states = self._scheduler.to_be_driven()
        search = states[0].study.search
        at_a_time = search.trials if search.pruner == "pbt" else search.concurrency
        environment = {**worker_environment(self._pool.threads), **self._cluster.environment(head)}
        assert head.address is not None
        return WorkerPool(
            run=self._run,
            roots=self._roots,
            count=max(1, min(self.count // at_a_time, len(states))),
            threads=self._pool.threads,
            devices=[],
            name=f"{unique_name()}-driver",
            reports=self._run.workers,
            arguments=[
                "--address", head.address, "--nodes", str(self._cluster.nodes),
                "--share", str(self._share), "--home", str(Path.home()),
            ],
            starters=[ProcessStarter(environment, "harness.ray.driver")],
        )  # fmt: skip

    def _end_ray(self, notify: Callable[[str], None]) -> None:
        if self._drivers is not None:
            self._drivers.stop(notify)
            self._drivers = None
        if self._held is not None:
            held, self._held = self._held, None
            with held:
                self._cluster.end()


def nodes_of_allocation() -> tuple[list[list[str]], str]:
    """The further nodes of the Slurm allocation that this process runs in, and the address of this one.

    Returns:
        For each further node the beginning of a command that runs the rest there, none outside of an allocation or
        in one of a single node; and the address by which they reach this node.

    Raises:
        RequestError: Slurm does not tell the names of the nodes.
    """
    if int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) < 2:
        return [], LOOPBACK
    names = call("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()
    here = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    step = ["srun", "--overlap", "--nodes=1", "--ntasks=1", "--input=none", "--kill-on-bad-exit=0", "--export=ALL"]
    return [[*step, f"--nodelist={name}"] for name in names if name != here], "auto"
