"""What a little cluster looks like, and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import RequestError

LONGEST_ROOT = 68
"""Characters: the sockets of job steps lie up to 37 characters deeper, and a socket's path may have 107."""


@dataclass(frozen=True)
class Settings:
    """The size of a cluster and the limits that it sets; checked when made.

    Attributes:
        nodes: number of nodes, n1, n2, …; 1 to 64.
        cpus: processors that each node pretends to have, whatever the machine has.
        gpus: GPUs that each node pretends to have; a job sees their numbers in CUDA_VISIBLE_DEVICES.
        gpu_type: their type, as in ``--gres=gpu:TYPE:1``; none when empty.
        memory: memory of a node in MiB; a job gets its share per processor unless it asks for another.
        accounting: whether there are slurmdbd and its database (sacct, limits of associations and QOS).
        max_array_size: Slurm's MaxArraySize: array indices are below it.
        max_submit_jobs: jobs that root may have submitted at a time; None for no limit; needs accounting.
        max_running_jobs: jobs that root may have running at a time; None for no limit; needs accounting.
        slurmd_timeout: seconds without an answer after which a node is down.
        kill_wait: seconds between SIGTERM and SIGKILL at a job's end.
        grace_time: seconds between the notice and the end of a preempted job in the partitions low and lowcancel.
        cred_expire: seconds that a job credential is valid, and also the delay of a requeue; at least 5.

    Raises:
        RequestError: a value that Slurm would refuse, or silently replace.
    """

    nodes: int = 4
    cpus: int = 4
    gpus: int = 2
    gpu_type: str = ""
    memory: int = 8000
    accounting: bool = True
    max_array_size: int = 1001
    max_submit_jobs: int | None = None
    max_running_jobs: int | None = None
    slurmd_timeout: int = 20
    kill_wait: int = 3
    grace_time: int = 10
    cred_expire: int = 5

    def __post_init__(self) -> None:
        lowest = {
            "nodes": 1,
            "cpus": 1,
            "gpus": 0,
            "memory": 64,
            "max_array_size": 2,
            "max_submit_jobs": 1,
            "max_running_jobs": 1,
            "slurmd_timeout": 3,
            "kill_wait": 1,
            "grace_time": 0,
            "cred_expire": 5,  # Slurm takes 120 in place of anything smaller, without a word
        }
        for name, least in lowest.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise RequestError(f"little cluster: {_option(name)} {value} is too small; give at least {least}")
        if self.nodes > 64:
            raise RequestError(f"little cluster: --nodes {self.nodes} is too many for one machine; give at most 64")
        if self.gpu_type and not self.gpu_type.isidentifier():
            raise RequestError(f"little cluster: --gpu-type {self.gpu_type!r} is no plain word; give one such as a100")
        for name in ("max_submit_jobs", "max_running_jobs"):
            if getattr(self, name) is not None and not self.accounting:
                raise RequestError(f"little cluster: {_option(name)} needs accounting; leave out --no-accounting")

    @property
    def node_names(self) -> list[str]:
        """n1, n2, …"""
        return [f"n{number}" for number in range(1, self.nodes + 1)]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Layout:
    """The paths below a cluster's folder.

    Attributes:
        root: the folder; absolute, without symbolic links.
    """

    root: Path

    @property
    def etc(self) -> Path:
        """What the cluster's processes see as /etc/slurm; also the sign by which they are known."""
        return self.root / "etc"

    @property
    def hosts(self) -> Path:
        """What they see as /etc/hosts."""
        return self.root / "hosts"

    @property
    def state(self) -> Path:
        """The state file."""
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """Held by the command that is changing the cluster."""
        return self.root / "lock"

    @property
    def logs(self) -> Path:
        """One log for each daemon."""
        return self.root / "log"

    @property
    def run(self) -> Path:
        """Sockets and files of process ids."""
        return self.root / "run"

    @property
    def munge_socket(self) -> Path:
        """The socket of munged."""
        return self.run / "munge"

    @property
    def munge_key(self) -> Path:
        """The cluster's own key."""
        return self.root / "munge.key"

    @property
    def database(self) -> Path:
        """The database; a file system in memory that only the cluster's processes see."""
        return self.root / "db"

    @property
    def database_socket(self) -> Path:
        """The socket of the database."""
        return self.run / "db"

    @property
    def controller_state(self) -> Path:
        """Where slurmctld keeps its jobs."""
        return self.root / "ctld"

    @property
    def devices(self) -> Path:
        """The pretended GPUs."""
        return self.root / "dev"

    @property
    def scratch(self) -> Path:
        """A folder that is another one on every node and on the login host."""
        return self.root / "scratch"

    def node(self, name: str) -> Path:
        """The folder of one node."""
        return self.root / "nodes" / name

    def node_scratch(self, name: str) -> Path:
        """What a node sees as ``scratch``."""
        return self.node(name) / "scratch"

    def node_spool(self, name: str) -> Path:
        """Where a slurmd keeps scripts and sockets of its steps."""
        return self.node(name) / "s"

    def log(self, daemon: str) -> Path:
        """The log of one daemon."""
        return self.logs / f"{daemon}.log"

    @property
    def folders(self) -> list[Path]:
        """Folders to make for every cluster, besides those of the nodes."""
        return [self.etc, self.logs, self.run, self.database, self.controller_state, self.devices, self.scratch]
