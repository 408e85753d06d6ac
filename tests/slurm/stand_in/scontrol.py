"""``scontrol requeue`` and ``scontrol show``."""

from __future__ import annotations

import getpass
import grp
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .listing import duration, moment, waiting_indices
from .options import Option, expanded, parse
from .refusals import Refused
from .scheduler import processors, requeue, schedule, stop, wake_later
from .settings import Partition, Settings, load_settings
from .state import FINAL, Job, changing, look
from .supervisor import file_values

OPTIONS = {"oneliner": Option("o", value=False), "quiet": Option("Q", value=False)}


def scontrol(folder: Path, words: Sequence[str]) -> int:
    """Requeue jobs, or show a job, a partition, a node or the configuration.

    Raises:
        Refused: in Slurm's words.
    """
    found, rest = parse("scontrol", OPTIONS, words)
    oneliner = ("oneliner", "") in found
    match rest:
        case ["requeue", *names] if names:
            for name in ",".join(names).split(","):
                requeue_job(folder, name)
        case ["show", what, *names] if what in SHOW:
            blocks = SHOW[what](folder, names[0] if names else None)
            print("\n\n".join(" ".join(block.split()) if oneliner else block for block in blocks))
        case ["show", what, *_]:
            raise Refused(f"invalid entity:{what} for keyword:show")
        case ["show" | "requeue"]:
            raise Refused(f"too few arguments for keyword:{rest[0]}")
        case _:
            raise Refused(f"invalid keyword: {rest[0] if rest else ''}")
    return 0


def requeue_job(folder: Path, name: str) -> None:
    """Have a job run again: a running one is ended first, a finished one just starts once more.

    Raises:
        Refused: it waits already, must not be requeued, or does not exist.
    """
    settings = load_settings(folder)
    with changing(folder) as state:
        jobs = state.named(name)
        if not jobs:
            raise Refused(f"Invalid job id specified for job {name}")
        for job in jobs:
            if not job.request.requeue:
                raise Refused(f"Requested operation is presently disabled for job {name}")
            if job.state == "PENDING":
                raise Refused(f"Job is pending execution for job {name}")
            if job.state in FINAL:
                job.state = "REQUEUED"
                requeue(job, settings)
            elif job.state == "RUNNING":
                stop(job, "REQUEUED", settings)
    schedule(folder)
    wake_later(folder, settings)


def _jobs(folder: Path, name: str | None) -> list[str]:
    state = look(folder)
    jobs = state.jobs if name is None else state.named(name)
    if name is not None and not jobs:
        raise Refused("slurm_load_jobs error: Invalid job id specified")
    return [_job(job) for job in jobs]


def _job(job: Job) -> str:
    request = job.request
    first = f"JobId={job.id}"
    if job.array is not None:
        task = waiting_indices([job]).partition("%")[0]
        throttle = f" ArrayTaskThrottle={request.throttle}" if request.throttle else ""
        first += f" ArrayJobId={job.array} ArrayTaskId={task}{throttle}"
    user, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
    used = 0.0 if job.started is None else (job.ended or time.time()) - job.started
    start = job.started or (job.begin or None)
    end = job.ended or (start and start + 60 * request.minutes)
    files = (Path(request.folder, expanded(name, file_values(job))) for name in (request.error, request.output))
    stderr, stdout = files
    lines = [
        f"{first} JobName={request.name}",
        f"UserId={user}({os.getuid()}) GroupId={group}({os.getgid()}) MCS_label=N/A",
        f"Priority=1 Nice=0 Account={request.account} QOS={request.qos}",
        f"JobState={job.state} Reason={job.reason} Dependency=(null)",
        f"Requeue={int(request.requeue)} Restarts={max(0, job.starts - 1)} BatchFlag=1 Reboot=0 "
        f"ExitCode={job.code}:{job.signal}",
        f"RunTime={duration(used, full=True)} TimeLimit={duration(60 * request.minutes, full=True)} TimeMin=N/A",
        f"SubmitTime={moment(job.submitted, 'Unknown')} EligibleTime={moment(job.begin or job.submitted, 'Unknown')}",
        f"StartTime={moment(start, 'Unknown')} EndTime={moment(end, 'Unknown')} Deadline=N/A",
        f"Partition={request.partition} AllocNode:Sid=localhost:1",
        f"NodeList={job.node}",
        *([f"BatchHost={job.node}"] if job.node else []),
        f"NumNodes=1 NumCPUs={processors(job)} NumTasks={request.tasks or 1} CPUs/Task={request.cpus}",
        f"Command={request.command or '(null)'}",
        f"WorkDir={request.folder}",
        *([] if request.comment is None else [f"Comment={request.comment} "]),
        f"StdErr={stderr}",
        "StdIn=/dev/null",
        f"StdOut={stdout}",
    ]
    return "\n   ".join(lines)


def _partitions(folder: Path, name: str | None) -> list[str]:
    settings = load_settings(folder)
    found = settings.partitions if name is None else [settings.partition(name)]
    if None in found:
        raise Refused(f"Partition {name} not found")
    return [_partition(partition, settings) for partition in found if partition is not None]


def _partition(partition: Partition, settings: Settings) -> str:
    default = "YES" if partition == settings.partitions[0] else "NO"
    gpus = f",gres/gpu={settings.nodes * settings.gpus}" if settings.gpus else ""
    processors, memory = settings.nodes * settings.cpus, settings.nodes * settings.memory
    lines = [
        f"PartitionName={partition.name}",
        f"AllocNodes=ALL Default={default} QoS=N/A",
        f"DefaultTime={duration(60 * partition.default_minutes, full=True)} GraceTime={int(settings.grace)}",
        f"MaxNodes=UNLIMITED MaxTime={duration(60 * partition.max_minutes, full=True)} MinNodes=0",
        f"Nodes={','.join(settings.node_names)}",
        f"OverTimeLimit=NONE PreemptMode={partition.preempt}",
        f"State=UP TotalCPUs={processors} TotalNodes={settings.nodes} SelectTypeParameters=NONE",
        f"TRES=cpu={processors},mem={memory}M,node={settings.nodes},billing={processors}{gpus}",
    ]
    return "\n   ".join(lines)


def _nodes(folder: Path, name: str | None) -> list[str]:
    settings = load_settings(folder)
    if name is not None and name not in settings.node_names:
        raise Refused(f"Node {name} not found")
    features = ",".join(settings.features) or "(null)"
    busy = {job.node for job in look(folder).jobs if job.state in ("RUNNING", "COMPLETING")}
    return [
        "\n   ".join(
            [
                f"NodeName={node} Arch=x86_64 CoresPerSocket=1",
                f"CPUTot={settings.cpus}",
                f"AvailableFeatures={features}",
                f"ActiveFeatures={features}",
                f"Gres={settings.gres}",
                f"NodeAddr=127.0.0.1 NodeHostName={node} Version=22.05.8",
                f"RealMemory={settings.memory}",
                f"State={'MIXED' if node in busy else 'IDLE'} ThreadsPerCore=1",
                f"Partitions={','.join(partition.name for partition in settings.partitions)}",
            ]
        )
        for node in settings.node_names
        if name in (None, node)
    ]


def _config(folder: Path, _: str | None) -> list[str]:
    settings = load_settings(folder)
    values = {
        "ClusterName": "stand-in",
        "EnforcePartLimits": "ALL",
        "KillWait": f"{settings.kill_wait:g} sec",
        "MaxArraySize": settings.max_array_size,
        "MinJobAge": "300 sec",
        "PreemptType": "preempt/partition_prio",
        "SelectType": "select/cons_tres",
        "SLURM_VERSION": "22.05.8",
    }
    now = moment(time.time(), "")
    listed = "\n".join(f"{name:<23} = {value}" for name, value in values.items())
    return [f"Configuration data as of {now}\n{listed}\n\nSlurmctld(primary) at localhost is UP"]


SHOW: dict[str, Callable[[Path, str | None], list[str]]] = {
    "job": _jobs,
    "jobs": _jobs,
    "partition": _partitions,
    "partitions": _partitions,
    "node": _nodes,
    "nodes": _nodes,
    "config": _config,
}
