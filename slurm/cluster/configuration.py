"""The files that Slurm reads: slurm.conf, gres.conf, cgroup.conf, slurmdbd.conf, and the hosts' names.

Written for Slurm 22.05, which Debian 12 has.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from slurm.cluster.settings import Layout, Settings

LOGIN = "login"
"""Host name where the controller and the users' commands run."""

CONTROLLER_PORT = 6817
ACCOUNTING_PORT = 6819
DATABASE_PORT = 3306
FIRST_NODE_PORT = 17001

CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("freezer", "memory", "cpuacct", "cpuset", "devices")
"""The version 1 hierarchies that slurmd opens."""


def has_cgroups() -> bool:
    """Whether version 1 control groups can be made here; else jobs are tracked by process group."""
    return all(os.access(CGROUPS / name / "cgroup.procs", os.W_OK) for name in CONTROLLERS)


def write_configuration(layout: Layout, settings: Settings) -> None:
    """Write every configuration file, the key and the device files of a new cluster."""
    cgroups = has_cgroups()
    (layout.etc / "slurm.conf").write_text(slurm_conf(layout, settings, cgroups))
    (layout.etc / "gres.conf").write_text(_gres_conf(layout, settings))
    cgroup = ["CgroupAutomount=no", "ConstrainRAMSpace=yes", "ConstrainCores=no", "ConstrainDevices=no"]
    (layout.etc / "cgroup.conf").write_text("\n".join(["CgroupPlugin=cgroup/v1", *cgroup] if cgroups else []) + "\n")
    if settings.accounting:
        _write_private(layout.etc / "slurmdbd.conf", _slurmdbd_conf(layout).encode())
    # Every name must resolve: daemons look up their own, and torch's MASTER_ADDR is a node's.
    names = " ".join((LOGIN, *settings.node_names))
    layout.hosts.write_text(f"127.0.0.1 localhost {names}\n::1 localhost\n")
    _write_private(layout.munge_key, os.urandom(128))
    for number in range(settings.gpus):
        # Slurm hands out nothing but device files; these ones behave like /dev/null.
        os.mknod(layout.devices / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def slurm_conf(layout: Layout, settings: Settings, cgroups: bool) -> str:
    """The text of slurm.conf.

    Args:
        layout: where the cluster's files lie.
        settings: its size and limits.
        cgroups: track jobs by control groups, with memory limits; else by process group, with memory polled.
    """
    lines = [
        "ClusterName=little",
        f"SlurmctldHost={LOGIN}(127.0.0.1)",
        f"SlurmctldPort={CONTROLLER_PORT}",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_socket},cred_expire={settings.cred_expire}",
        f"StateSaveLocation={layout.controller_state}",
        f"SlurmdSpoolDir={layout.node_spool('%n')}",
        f"SlurmctldPidFile={layout.run}/slurmctld.pid",
        f"SlurmdPidFile={layout.run}/%n.pid",
        f"SlurmctldLogFile={layout.log('slurmctld')}",
        f"SlurmdLogFile={layout.log('%n')}",
        "MpiDefault=none",
        "SwitchType=switch/none",
        "MailProg=/bin/true",
        # The controller talks to every node itself: through another node it would notice a death much later.
        "TreeWidth=64",
        f"MessageTimeout={min(10, max(5, settings.slurmd_timeout // 2))}",
        "GresTypes=gpu",
        # Nodes pretend to have more than the machine has.
        "SlurmdParameters=config_overrides",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        f"DefMemPerCPU={settings.memory // settings.cpus}",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "SlurmctldParameters=preempt_send_user_signal",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=100000,bf_interval=2,bf_continue",
        "EpilogMsgTime=100",
        f"MaxArraySize={settings.max_array_size}",
        f"SlurmdTimeout={settings.slurmd_timeout}",
        f"KillWait={settings.kill_wait}",
        # 1: a node that did not answer comes back by itself; one that was set down stays down.
        "ReturnToService=1",
        "EnforcePartLimits=ALL",
        f"FirstJobId={first_job_id(time.time())}",
        *(_by_cgroup() if cgroups else _by_process_group()),
        *(_accounting(layout) if settings.accounting else ["AccountingStorageType=accounting_storage/none"]),
        *_nodes(settings),
        *_partitions(settings),
    ]
    return "\n".join(lines) + "\n"


def first_job_id(now: float) -> int:
    """Where job ids begin: ten for each second of the clock, below Slurm's largest id, 67 043 328.

    A new cluster must not hand out the ids of an earlier one: submitit would take the results left in an old folder.

    Args:
        now: seconds since 1970.
    """
    return 1000 + int(now * 10) % 60_000_000


def _by_cgroup() -> list[str]:
    return [
        "ProctrackType=proctrack/cgroup",
        "TaskPlugin=task/cgroup",
        "JobAcctGatherType=jobacct_gather/cgroup",
        "JobAcctGatherFrequency=task=5",
    ]


def _by_process_group() -> list[str]:
    return [
        "ProctrackType=proctrack/pgid",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherParams=OverMemoryKill",
        "JobAcctGatherFrequency=task=2",
    ]


def _accounting(layout: Layout) -> list[str]:
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={ACCOUNTING_PORT}",
        # Towards slurmdbd this names munge's socket; AuthInfo is not looked at.
        f"AccountingStoragePass={layout.munge_socket}",
        "AccountingStorageTRES=gres/gpu",
        "AccountingStorageEnforce=associations,limits,qos",
    ]


def _nodes(settings: Settings) -> list[str]:
    gres = f"Gres=gpu:{_typed(settings)}{settings.gpus}" if settings.gpus else ""
    return [
        f"NodeName={name} NodeAddr=127.0.0.1 Port={FIRST_NODE_PORT + index} "
        f"CPUs={settings.cpus} RealMemory={settings.memory} {gres}".rstrip()
        for index, name in enumerate(settings.node_names)
    ]


def _typed(settings: Settings) -> str:
    return f"{settings.gpu_type}:" if settings.gpu_type else ""


def _partitions(settings: Settings) -> list[str]:
    grace = f"GraceTime={settings.grace_time}"
    long = "DefaultTime=00:30:00 MaxTime=1-00:00:00"
    partitions = {
        "batch": f"Default=YES PriorityTier=1 PreemptMode=OFF {long}",
        "short": "PriorityTier=1 PreemptMode=OFF DefaultTime=00:05:00 MaxTime=00:05:00",
        "low": f"PriorityTier=1 PreemptMode=REQUEUE {grace} {long}",
        "lowcancel": f"PriorityTier=1 PreemptMode=CANCEL {grace} {long}",
        "high": f"PriorityTier=100 PreemptMode=OFF {long}",
    }
    common = f"Nodes={','.join(settings.node_names)} State=UP"
    return [f"PartitionName={name} {common} {text}" for name, text in partitions.items()]


def _gres_conf(layout: Layout, settings: Settings) -> str:
    if not settings.gpus:
        return "AutoDetect=off\n"
    kind = f"Type={settings.gpu_type} " if settings.gpu_type else ""
    last = settings.gpus - 1
    files = f"{layout.devices}/gpu[0-{last}]" if last else f"{layout.devices}/gpu0"
    return f"AutoDetect=off\nName=gpu {kind}File={files}\n"


def _slurmdbd_conf(layout: Layout) -> str:
    lines = [
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_socket}",
        f"DbdHost={LOGIN}",
        "DbdAddr=127.0.0.1",
        f"DbdPort={ACCOUNTING_PORT}",
        "SlurmUser=root",
        f"LogFile={layout.log('slurmdbd')}",
        f"PidFile={layout.run}/slurmdbd.pid",
        "StorageType=accounting_storage/mysql",
        "StorageHost=127.0.0.1",
        f"StoragePort={DATABASE_PORT}",
        "StorageUser=root",
        "StorageLoc=slurm",
    ]
    return "\n".join(lines) + "\n"


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
