"""The size and the limits of the pretended cluster."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Partition:
    """A partition; all have all nodes.

    Attributes:
        name: as in ``--partition``.
        max_minutes: longest time limit that a job may ask for.
        default_minutes: the limit of jobs that ask for none.
        preempt: what becomes of a preempted job.
    """

    name: str
    max_minutes: int = 24 * 60
    default_minutes: int = 30
    preempt: Literal["OFF", "REQUEUE", "CANCEL"] = "OFF"


PARTITIONS = (
    Partition("batch"),
    Partition("short", max_minutes=5, default_minutes=5),
    Partition("low", preempt="REQUEUE"),
    Partition("lowcancel", preempt="CANCEL"),
    Partition("high"),
)
"""Those of the little cluster (``slurm.cluster``); the first one is the default."""


@dataclass(frozen=True)
class Settings:
    """The pretended cluster.

    Attributes:
        running: jobs that may run at a time, on all nodes together.
        nodes: number of nodes, n1, n2, …
        cpus: processors of a node.
        memory: memory of a node in MiB; nothing enforces it.
        gpus: GPUs of a node.
        gpu_type: their type; none when empty.
        partitions: the first one is the default.
        accounts: known accounts; the first one is the default.
        qos: known qualities of service; the first one is the default.
        features: what ``--constraint`` may name; every node has all.
        max_array_size: array indices are below it.
        max_submit: jobs that may wait and run at a time; None for no limit.
        kill_wait: seconds between SIGTERM and SIGKILL.
        grace: seconds between the notice and the end of a job that is preempted or out of time.
        requeue_delay: seconds until a requeued job may start again; Slurm takes 5 and more.
        silence: seconds until a command gives up on an absent controller; Slurm takes 5 to 9.
    """

    running: int = 4
    nodes: int = 4
    cpus: int = 4
    memory: int = 8000
    gpus: int = 2
    gpu_type: str = ""
    partitions: tuple[Partition, ...] = PARTITIONS
    accounts: tuple[str, ...] = ("root",)
    qos: tuple[str, ...] = ("normal",)
    features: tuple[str, ...] = ()
    max_array_size: int = 1001
    max_submit: int | None = None
    kill_wait: float = 1.0
    grace: float = 2.0
    requeue_delay: float = 0.5
    silence: float = 0.5

    @property
    def node_names(self) -> list[str]:
        """n1, n2, …"""
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def gres(self) -> str:
        """What a node has, in sinfo's words: ``gpu:a100:2``."""
        kind = f"{self.gpu_type}:" if self.gpu_type else ""
        return f"gpu:{kind}{self.gpus}" if self.gpus else "(null)"

    def partition(self, name: str) -> Partition | None:
        """The partition of that name."""
        return next((partition for partition in self.partitions if partition.name == name), None)


def save_settings(folder: Path, settings: Settings) -> None:
    """Write them where every command finds them."""
    (folder / "settings.json").write_text(json.dumps(asdict(settings)))


def load_settings(folder: Path) -> Settings:
    """What `save_settings` wrote."""
    values = json.loads((folder / "settings.json").read_text())
    values["partitions"] = tuple(Partition(**partition) for partition in values["partitions"])
    for name in ("accounts", "qos", "features"):
        values[name] = tuple(values[name])
    return Settings(**values)
