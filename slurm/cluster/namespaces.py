"""Commands that enter or make the cluster's namespaces, and the processes found in them.

A process belongs to the cluster when the folder that it sees as /etc/slurm is the cluster's own. That holds for the
daemons, jobs and whatever they started, also after a daemon's death, and for nothing outside.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.launch.slurm.variables import SLURM_PREFIXES
from slurm.cluster.configuration import CGROUPS, CONTROLLERS, LOGIN, has_cgroups
from slurm.cluster.processes import ProcessId, running, wait_until
from slurm.cluster.requirements import program
from slurm.cluster.settings import Layout

HOLDER = "namespace"
"""The process that keeps the namespaces while no other one does."""

_CREATE = """set -e
root=$0 cgroup=$1; shift
echo "$1" > /proc/sys/kernel/hostname; shift
ip=$1; mount=$2; shift 2
"$ip" link set lo up
"$ip" address add 10.99.0.1/32 dev lo
"$mount" --bind "$root/etc" /etc/slurm
"$mount" --bind "$root/hosts" /etc/hosts
"$mount" -t tmpfs -o mode=0700 none "$root/db"
for folder in "$@"; do "$mount" --bind "$folder/$cgroup" "$folder"; done
echo ready
exec sleep infinity
"""
# With addresses of 127/8 only, getaddrinfo does not even resolve "127.0.0.1": hence one more.

_NODE = """set -e
echo "$0" > /proc/sys/kernel/hostname
"$1" --bind "$2" "$3"; shift 3
exec "$@"
"""

_GO = 'cd "$0" && exec "$@"'


def cgroup_name(layout: Layout) -> str:
    """The folder that holds all of this cluster's control groups in every hierarchy."""
    return "little" + str(layout.root).replace("/", "-")


def cgroup_folders(layout: Layout) -> list[Path]:
    """That folder in every hierarchy, whether it is there or not."""
    return [CGROUPS / name / cgroup_name(layout) for name in CONTROLLERS]


def creation(layout: Layout) -> list[str]:
    """The command whose process holds new namespaces; it prints one line when they are ready and then sleeps.

    Its network has nothing but loopback. It sees the cluster's files at /etc/slurm and /etc/hosts. Node names are the
    same in every cluster, hence each has its own part of the control groups.
    """
    hierarchies: list[str] = []
    if has_cgroups():
        for folder in cgroup_folders(layout):
            folder.mkdir(exist_ok=True)
        hierarchies = [str(CGROUPS / name) for name in CONTROLLERS]
    unshare = [program("unshare"), "--net", "--mount", "--uts", "--propagation", "private", "--"]
    arguments = [str(layout.root), cgroup_name(layout), LOGIN, program("ip"), program("mount"), *hierarchies]
    return [*unshare, "sh", "-c", _CREATE, *arguments]


def inside(holder: int, folder: Path, command: Sequence[str]) -> list[str]:
    """The command that becomes ``command`` on the login host of the cluster.

    Args:
        holder: id of a process in the namespaces.
        folder: absolute working folder.
        command: program and arguments; never read by a shell.
    """
    enter = [program("nsenter"), f"--target={holder}", "--net", "--mount", "--uts", "--"]
    return [*enter, "sh", "-c", _GO, str(folder), *command]


def on_node(layout: Layout, node: str, command: Sequence[str]) -> list[str]:
    """The command, given inside the cluster, that becomes ``command`` with a node's host name and scratch folder."""
    unshare = [program("unshare"), "--mount", "--uts", "--propagation", "private", "--"]
    arguments = [node, program("mount"), str(layout.node_scratch(node)), str(layout.scratch)]
    return [*unshare, "sh", "-c", _NODE, *arguments, *command]


def inner_environment() -> dict[str, str]:
    """The environment without Slurm's variables: those that are set here speak of another cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SLURM_PREFIXES)}


def is_inside(layout: Layout) -> bool:
    """Whether this very process runs in the cluster."""
    return _sees(os.getpid(), "etc/slurm", layout.etc)


def members(layout: Layout) -> list[ProcessId]:
    """The processes of the cluster, on all nodes and on the login host."""
    return running(lambda pid: _sees(pid, "etc/slurm", layout.etc))


def node_members(layout: Layout, node: str) -> list[ProcessId]:
    """The processes on one node: its slurmd, the jobs and all that they started."""
    inner, own = str(layout.scratch).lstrip("/"), layout.node_scratch(node)
    return running(lambda pid: _sees(pid, "etc/slurm", layout.etc) and _sees(pid, inner, own))


def _sees(pid: int, inner: str, folder: Path) -> bool:
    """Whether a path, as that process sees it, is the folder as we see it. False for zombies and the dead."""
    try:
        return os.path.samestat(Path("/proc", str(pid), "root", inner).stat(), folder.stat())
    except OSError:
        return False


def remove_cgroups(layout: Layout) -> None:
    """Remove the cluster's control groups, which have no processes any more."""
    for folder in cgroup_folders(layout):
        for path, _, _ in os.walk(folder, topdown=False):
            # The kernel lets go of a group a moment after its last process has ended.
            wait_until(partial(_removed, Path(path)), seconds=2)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
