"""The daemons of a cluster: the command of each, and when it can be said to answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slurm.cluster.configuration import ACCOUNTING_PORT, CONTROLLER_PORT, DATABASE_PORT, FIRST_NODE_PORT
from slurm.cluster.requirements import program
from slurm.cluster.settings import Layout

MUNGED = "munged"
DATABASE = "mariadbd"
ACCOUNTING = "slurmdbd"
CONTROLLER = "slurmctld"

_LISTENING = "0A"


@dataclass(frozen=True)
class Daemon:
    """One daemon.

    Attributes:
        name: the name of its record and its log.
        command: program and arguments.
        answers: given the process id, whether it answers.
    """

    name: str
    command: list[str]
    answers: Callable[[int], bool]


def munged(layout: Layout) -> Daemon:
    """Signs and checks the messages between the other daemons."""
    command = [
        program("munged"),
        "--foreground",
        # It would refuse a folder somewhere below /tmp.
        "--force",
        f"--key-file={layout.munge_key}",
        f"--socket={layout.munge_socket}",
        f"--pid-file={layout.run}/munged.pid",
        f"--seed-file={layout.run}/munged.seed",
        f"--log-file={layout.log(MUNGED)}",
    ]
    return Daemon(MUNGED, command, lambda _pid: _accepts(layout.munge_socket))


def database_files(layout: Layout) -> list[str]:
    """The command that makes an empty database."""
    return [
        program("mariadb-install-db"),
        "--no-defaults",
        "--user=root",
        f"--datadir={layout.database}",
        _own_temporary(layout),
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
        "--innodb-log-file-size=8M",
    ]


def database(layout: Layout) -> Daemon:
    """Keeps slurmdbd's tables."""
    command = [
        program("mariadbd"),
        "--no-defaults",
        "--user=root",
        f"--datadir={layout.database}",
        _own_temporary(layout),
        f"--socket={layout.database_socket}",
        f"--pid-file={layout.run}/mariadbd.pid",
        "--bind-address=127.0.0.1",
        f"--port={DATABASE_PORT}",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--performance-schema=OFF",
        "--innodb-log-file-size=8M",
        "--innodb-buffer-pool-size=32M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
    ]
    return Daemon(DATABASE, command, lambda pid: _listens(pid, DATABASE_PORT))


def _own_temporary(layout: Layout) -> str:
    """A folder of its own for temporary tables: a database that starts removes those of others in a shared one."""
    return f"--tmpdir={layout.run}"


def accounting() -> Daemon:
    """Slurm's accounting."""
    return Daemon(ACCOUNTING, [program("slurmdbd"), "-D"], lambda pid: _listens(pid, ACCOUNTING_PORT))


def controller(*, new: bool) -> Daemon:
    """The controller; a new one starts without jobs, else it goes on with those of its state folder."""
    command = [program("slurmctld"), "-D", *(["-c"] if new else [])]
    return Daemon(CONTROLLER, command, lambda pid: _listens(pid, CONTROLLER_PORT))


def node(name: str, index: int) -> Daemon:
    """The slurmd of one node.

    Args:
        name: the node's.
        index: its place among the nodes, from 0.
    """
    return Daemon(name, [program("slurmd"), "-D", "-N", name], lambda pid: _listens(pid, FIRST_NODE_PORT + index))


def last_words(log: Path) -> str:
    """The last two complaints in a daemon's log, which are a cause and its effect, or its last line; else empty."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return ""
    complaints = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
    # Plugins for MPI that are not installed are complained of at every start.
    complaints = [line for line in complaints if "mpi" not in line.lower()]
    return "; ".join(complaints[-2:] or lines[-1:])


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _listens(pid: int, port: int) -> bool:
    """Whether anything listens on a port in the network namespace of a process; found without connecting."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state = line.split()[:4]
            if state == _LISTENING and int(local.rsplit(":", 1)[1], 16) == port:
                return True
    return False
