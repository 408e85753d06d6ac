"""What a cluster has to offer, as ``scontrol`` tells: partitions, nodes, GPUs and a few settings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from harness.launch.slurm.commands import SlurmError, SlurmSilent
from harness.launch.slurm.values import minutes

Call: TypeAlias = Callable[..., str]
"""Runs a Slurm command, as ``harness.launch.slurm.commands.call`` does."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of the whole cluster."""

    cluster: str
    """Its name in the accounting."""
    max_array_size: int
    """Indices of an array are below it; 0 where there are no arrays."""
    enforced: frozenset[str]
    """What the accounting enforces: associations, qos, limits, …"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition and its limits; None: no limit."""

    name: str
    default: bool
    state: str
    """UP, DOWN, DRAIN or INACTIVE."""
    minutes: int | None
    """Longest time limit."""
    cpus: int | None
    """Most CPUs of a node for a job."""
    memory: int | None
    """Most memory of a node for a job, in MiB."""


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node with all that jobs may get of it, whether it is busy or not."""

    name: str
    partitions: frozenset[str]
    cpus: int
    memory: int
    """MiB."""
    gpus: Counter[str]
    """How many of each type; the type is empty where the cluster names none."""

    def gpu_count(self, gpu_type: str | None) -> int:
        """GPUs of one type, of all types for None."""
        return self.gpus.total() if gpu_type is None else self.gpus[gpu_type]


def limits(call: Call) -> Limits:
    """The settings of the cluster.

    Raises:
        SlurmError: scontrol failed, or the controller does not answer.
    """
    found: dict[str, str] = {}
    for line in call("scontrol", "show", "config").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found.setdefault(name.strip(), value.strip())
    enforced = found.get("AccountingStorageEnforce", "none")
    return Limits(
        found.get("ClusterName", ""),
        _number(found.get("MaxArraySize", "")) or 0,
        frozenset() if enforced in ("none", "(null)") else frozenset(enforced.lower().split(",")),
    )


def partitions(call: Call) -> list[Partition]:
    """The partitions that the cluster shows its users.

    Raises:
        SlurmError: scontrol failed, or the controller does not answer.
    """
    return _read_partitions(call("scontrol", "show", "partition", "--oneliner"))


def hidden_partition(call: Call, name: str) -> Partition | None:
    """A partition that is not shown, but can be used; None where there is none of that name.

    Raises:
        SlurmSilent: the controller does not answer.
    """
    try:
        found = _read_partitions(call("scontrol", "show", "partition", name, "--oneliner", "--all"))
    except SlurmSilent:
        raise
    except SlurmError:
        return None
    return found[0] if found else None


def _read_partitions(text: str) -> list[Partition]:
    found = [_fields(line) for line in text.splitlines()]
    return [
        Partition(
            name=one["PartitionName"],
            default=one.get("Default") == "YES",
            state=one.get("State", "UP"),
            minutes=_minutes(one.get("MaxTime", "UNLIMITED")),
            cpus=_number(one.get("MaxCPUsPerNode", "UNLIMITED")),
            memory=_number(one.get("MaxMemPerNode", "UNLIMITED")),
        )
        for one in found
        if "PartitionName" in one
    ]


def nodes(call: Call) -> list[ClusterNode]:
    """All nodes that the user may see.

    Raises:
        SlurmError: scontrol failed, or the controller does not answer.
    """
    found = [_fields(line) for line in call("scontrol", "show", "node", "--oneliner").splitlines()]
    return [
        ClusterNode(
            name=one["NodeName"],
            partitions=frozenset(one.get("Partitions", "").split(",")),
            # What is set aside for the system is in CPUTot, and not for jobs.
            cpus=_number(one.get("CPUEfctv") or one.get("CPUTot", "")) or 0,
            memory=(_number(one.get("RealMemory", "")) or 0) - (_number(one.get("MemSpecLimit", "")) or 0),
            gpus=_gpus(one.get("Gres", "")),
        )
        for one in found
        if "NodeName" in one
    ]


def _fields(line: str) -> dict[str, str]:
    """The words ``NAME=VALUE`` of a line; free text, which may hold such words too, comes last in Slurm's lines."""
    found: dict[str, str] = {}
    for word in line.split():
        name, equals, value = word.partition("=")
        if equals:
            found.setdefault(name, "" if value == "(null)" else value)
    return found


def _gpus(gres: str) -> Counter[str]:
    """``gpu:a100:4(S:0-1),gpu:2,lscratch:100`` by type."""
    found: Counter[str] = Counter()
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = part.split(":")
        if name == "gpu":
            count = rest.pop() if rest and rest[-1].isdecimal() else "1"
            found[":".join(rest)] += int(count)
    return found


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _minutes(text: str) -> int | None:
    return None if text in ("UNLIMITED", "INFINITE", "NONE", "") else minutes(text)
