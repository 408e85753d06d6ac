"""Whether a cluster could ever run the jobs of a profile, before anything is submitted.

Some sites' Slurm lets jobs wait for ever that no node can run; elsewhere it refuses them, without saying which of their
wishes is too much.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.errors import RequestError, suggestion
from harness.launch.slurm.commands import SlurmError, SlurmSilent, require_commands
from harness.launch.slurm.facts import Call, ClusterNode, Limits, Partition, hidden_partition, limits, nodes, partitions
from harness.launch.slurm.profile import Profile
from harness.launch.slurm.shared_folders import doubts
from harness.launch.slurm.values import mebibytes, shown_duration

__all__ = ["Limits", "check_cluster", "limits"]


def check_cluster(profile: Profile, run_dir: Path, call: Call, folders: Mapping[str, Path] | None = None) -> list[str]:
    """Check that the cluster could run the jobs of a profile.

    Args:
        profile: what each job asks for.
        run_dir: the run directory.
        call: runs a Slurm command.
        folders: other folders that nodes need, by what to call them.

    Returns:
        What is doubtful, and only a node can tell: one line each.

    Raises:
        RequestError: no job could ever run; the message is one line.
        SlurmError: a Slurm command is missing or failed.
        SlurmSilent: the controller does not answer.
    """
    require_commands()
    try:
        settings, machines = limits(call), nodes(call)
        chosen = _chosen(profile, call)
    except SlurmSilent as error:
        raise SlurmSilent(f"{error}; try `scontrol ping`, and run the command again when it says UP") from error
    _check_time(profile, chosen)
    _check_nodes(profile, chosen, machines)
    if "associations" in settings.enforced and profile.account is not None:
        _check_account(profile.account, settings.cluster, call)
    if "qos" in settings.enforced and profile.qos is not None:
        _check_qos(profile.qos, call)
    notes = [
        f"profile: partition: {one.name!r} is {one.state} at present; jobs wait until it is up"
        for one in chosen
        if one.state != "UP"
    ]
    return notes + _files(profile) + doubts({"run directory": run_dir, **(folders or {})}, profile.scratch)


def _chosen(profile: Profile, call: Call) -> list[Partition]:
    """The partitions in which jobs may run."""
    shown = {one.name: one for one in partitions(call)}
    if profile.partition is None:
        found = [one for one in shown.values() if one.default]
        if not found:
            raise RequestError(
                f"profile: partition: missing, and this cluster has no default one; name one of {', '.join(shown)}"
            )
        return found
    chosen = []
    for name in profile.partition.split(","):
        one = shown.get(name) or hidden_partition(call, name)
        if one is None:
            raise RequestError(f"profile: partition: there is no {name!r} on this cluster{_near(name, list(shown))}")
        chosen.append(one)
    return chosen


def _check_time(profile: Profile, chosen: Sequence[Partition]) -> None:
    longest = [one.minutes for one in chosen if one.minutes is not None]
    if len(longest) == len(chosen) and profile.time > max(longest):
        raise RequestError(
            f"profile: time: {shown_duration(profile.time)} is above the limit of {_named(chosen)}, "
            f"{shown_duration(max(longest))}; give less: trials go on in the next job"
        )


def _check_nodes(profile: Profile, chosen: Sequence[Partition], machines: Sequence[ClusterNode]) -> None:
    """Find a node that has everything at once; what narrows them down to none is told."""
    fitting = [
        replace(node, cpus=_least(node.cpus, one.cpus), memory=_least(node.memory, one.memory))
        for node in machines
        for one in chosen
        if one.name in node.partitions and node.name not in profile.exclude
    ]
    if not fitting:
        # Some sites hide their nodes, and in a cloud they come and go.
        return
    where = f"node of {_named(chosen)}"
    if profile.gpus:
        fitting = _with_gpus(profile, fitting, machines, where)
        kind = f" {profile.gpu_type}" if profile.gpu_type else ""
        where += f" with {profile.gpus}{kind} GPU{'s' if profile.gpus > 1 else ''}"
    if profile.cpus is not None:
        most = max(node.cpus for node in fitting)
        fitting = [node for node in fitting if node.cpus >= profile.cpus]
        if not fitting:
            raise RequestError(f"profile: cpus: {profile.cpus} is more than any {where} has, {most}")
        where += f" and {profile.cpus} CPUs" if profile.gpus else f" with {profile.cpus} CPUs"
    if profile.memory is not None:
        wanted, most = mebibytes(profile.memory), max(node.memory for node in fitting)
        if wanted > most:
            raise RequestError(
                f"profile: memory: {profile.memory} ({wanted:.0f}M) is more than any {where} has, {most}M"
            )


def _with_gpus(
    profile: Profile, fitting: Sequence[ClusterNode], machines: Sequence[ClusterNode], where: str
) -> list[ClusterNode]:
    there = sorted({kind for node in fitting for kind in node.gpus})
    if not there:
        others = sorted({name for node in machines if node.gpus for name in node.partitions})
        elsewhere = f"partitions with GPUs: {', '.join(others)}" if others else "no node of this cluster has any"
        raise RequestError(f"profile: gpus: no {where} has GPUs; {elsewhere}")
    if profile.gpu_type is not None and profile.gpu_type not in there:
        if there == [""]:
            raise RequestError(f"profile: gpu_type: no {where} names a type of its GPUs; leave the key out")
        near = _near(profile.gpu_type, there, _counts(fitting))
        raise RequestError(f"profile: gpu_type: no {where} has {profile.gpu_type!r}{near}")
    found = [node for node in fitting if node.gpu_count(profile.gpu_type) >= profile.gpus]
    if not found:
        kind = f" of type {profile.gpu_type}" if profile.gpu_type else ""
        raise RequestError(
            f"profile: gpus: {profile.gpus}{kind} is more than any {where} has; there are {_counts(fitting)}"
        )
    return found


def _check_account(account: str, cluster: str, call: Call) -> None:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
        words = ("show", "associations", "where", f"user={user}", f"cluster={cluster}", "format=Account")
        found = call("sacctmgr", "--noheader", "--parsable2", *words).split()
    except (SlurmError, KeyError):
        # Without an answer the question is left to sbatch.
        return
    if found and account.lower() not in found:
        raise RequestError(f"profile: account: {user} has no account {account!r} here{_near(account, found)}")


def _check_qos(qos: str, call: Call) -> None:
    try:
        found = call("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=Name").split()
    except SlurmError:
        # Without an answer the question is left to sbatch.
        return
    if found and qos.lower() not in found:
        raise RequestError(f"profile: qos: there is no {qos!r} on this cluster{_near(qos, found)}")


def _files(profile: Profile) -> list[str]:
    """Programs that are not where the profile has them, seen from here."""
    doubtful = {}
    if profile.container is not None:
        if "://" not in profile.container.image:
            doubtful["container.image"] = Path(profile.container.image)
    elif profile.python is not None and "/" in profile.python:
        doubtful["python"] = Path(profile.python)
    return [
        f"profile: {key}: {path} is not on this machine; jobs fail unless the nodes have it"
        for key, path in doubtful.items()
        if not path.exists()
    ]


def _counts(machines: Sequence[ClusterNode]) -> str:
    most: dict[str, int] = {}
    for node in machines:
        for kind, count in node.gpus.items():
            most[kind] = max(most.get(kind, 0), count)
    return ", ".join(f"{kind or 'GPUs'} ({count} a node)" for kind, count in sorted(most.items()))


def _named(chosen: Sequence[Partition]) -> str:
    names = ", ".join(one.name for one in chosen)
    return f"partition {names}" if len(chosen) == 1 else f"the partitions {names}"


def _near(word: str, known: Sequence[str], listed: str = "") -> str:
    """What was probably meant, and what there is."""
    there = f"here are {listed or ', '.join(sorted(set(known)))}"
    same = [name for name in known if name.lower() == word.lower()]
    near = f"; did you mean {same[0]!r}?" if same else suggestion(word, known)
    return f"{near} T{there}" if near.endswith("?") else f"; t{there}"


def _least(has: int, allowed: int | None) -> int:
    return has if allowed is None else min(has, allowed)
