"""One node of a Ray cluster, for as long as the process that started it lives: ``python -m harness.ray.node``.

Everything that Ray starts inherits a mark in its environment. At the end, or when the parent is gone, whatever bears
the mark is ended, each by process id and start time; ``ray stop`` would end every Ray process of the machine.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import psutil

from harness.core import processes
from harness.core.arguments import parse
from harness.core.errors import EXIT_DONE, RequestError, one_line, run_command
from harness.core.files import TornFileError, write_json
from harness.core.json_form import Form
from harness.core.owner import host_identity, process_lives
from harness.launch.bounded import end_killed

MARK = "GPAF_BENCH_RAY_NODE"
"""The environment variable that all processes of a node bear; its value, the node's alone, is in the folder's name."""
LOOPBACK = "127.0.0.1"
AUTO = "auto"
"""In place of an address: the one that the node's name in Slurm stands for."""
START_SECONDS = 90.0
END_SECONDS = 10.0
POLL_SECONDS = 0.2
LONGEST_FOLDER = 40
"""Ray puts sockets about 65 characters below its folder, and the path of a socket has at most 107."""
OBJECT_STORE_BYTES = 100_000_000
"""Nothing large goes through Ray: images and weights are read from files."""


class NodeContent(TypedDict):
    """What the file of a node holds: who keeps it, and what its processes and its folder are known by."""

    host: NotRequired[str]
    pid: NotRequired[int]
    process_start: NotRequired[float]
    mark: str
    folder: str
    address: NotRequired[str]


_NODE: Form[NodeContent] = Form(NodeContent)


@dataclass(frozen=True)
class NodeRecord:
    """What the run directory knows of a node, so that its remains can be removed by whoever comes next."""

    path: Path
    content: NodeContent

    @property
    def address(self) -> str | None:
        """Where drivers and further nodes reach the cluster; None before it is up."""
        return self.content.get("address")

    def remove_remains(self) -> int:
        """End what is left of the node if its keeper died without doing so; how many processes that were.

        Raises:
            RequestError: some outlive SIGKILL.
        """
        if self.content.get("host") != host_identity() or process_lives(self.content):
            return 0
        ended = end_marked(str(self.content["mark"]))
        shutil.rmtree(str(self.content["folder"]), ignore_errors=True)
        self.path.unlink(missing_ok=True)
        return ended


def records(folder: Path) -> list[NodeRecord]:
    """The nodes that a folder of the run directory tells of."""
    found = []
    for path in sorted(folder.glob("node-*.json")):
        with suppress(FileNotFoundError, TornFileError):
            found.append(NodeRecord(path, _NODE.read(path)))
    return found


def end_marked(mark: str) -> int:
    """Kill every process that bears a mark until none is found; how many there were.

    Raises:
        RequestError: some outlive SIGKILL, as in a system call that hangs.
    """
    ended: set[tuple[int, float]] = set()
    deadline = time.monotonic() + END_SECONDS
    while found := marked(mark):
        for process in found:
            with suppress(psutil.NoSuchProcess):
                ended.add((process.pid, process.create_time()))
                process.kill()
        if time.monotonic() > deadline:
            pids = ", ".join(str(process.pid) for process in found)
            raise RequestError(f"processes {pids} of Ray outlive SIGKILL; /proc/PID/stack tells what they wait for")
        time.sleep(0.05)
    return len(ended)


def marked(mark: str) -> list[psutil.Process]:
    """The living processes that bear a mark; this one is never among them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and _bears(process, mark):
                found.append(process)
    return found


def _bears(process: psutil.Process, mark: str) -> bool:
    environment = process.environ()
    if environment:
        return environment.get(MARK) == mark
    # Ray's agents write their title over their environment; what they print goes into the node's folder.
    return any(mark in file.path for file in process.open_files())


@dataclass(frozen=True)
class NodePlan:
    """What one node of the cluster is to be.

    Attributes:
        records: folder in which the node's record is kept.
        token: file with the cluster's secret, readable by its owner alone.
        cpus: logical CPUs that Ray may give away here.
        gpus: GPUs that it may give away here.
        join: address of the cluster; None starts one.
        address: of this node, as the others reach it; loopback keeps every socket of Ray there.
    """

    records: Path
    token: Path
    cpus: int
    gpus: int
    join: str | None = None
    address: str = LOOPBACK


class RayNode:
    """The Ray processes of one machine, from start to end."""

    def __init__(self, plan: NodePlan) -> None:
        self._plan = plan
        self._mark = secrets.token_hex(6)
        self._folder = _new_folder(self._mark)
        self._log = self._folder / "start.log"
        self._record = plan.records / f"node-{self._mark}.json"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, stop: threading.Event) -> None:
        """Start it and wait until it is up, or until ``stop`` is set.

        Raises:
            RequestError: Ray does not start; the message repeats what it said.
        """
        content: NodeContent = {
            "host": host_identity(),
            "pid": os.getpid(),
            "process_start": processes.start_of(os.getpid()),
            "mark": self._mark,
            "folder": str(self._folder),
        }
        write_json(self._record, content)
        (self._folder / "home").mkdir()
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C reaches the sweep alone, which then ends everything in order.
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        address = self._folder / "t" / "ray_current_cluster"
        while not stop.wait(POLL_SECONDS):
            self.check()
            if address.exists() and (found := address.read_text().strip()):
                write_json(self._record, {**content, "address": found})
                return
            if time.monotonic() > deadline:
                raise RequestError(f"Ray was not up after {START_SECONDS:.0f} s: {self._said()}")

    def check(self) -> None:
        """Raise RequestError when Ray has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise RequestError(f"Ray ended (exit code {self._process.returncode}): {self._said()}")

    def end(self) -> None:
        """End all of it, and remove its folder and its record."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
        end_marked(self._mark)
        if self._process is not None:
            end_killed(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._plan.join is None:
            self._plan.token.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        plan = self._plan
        where = ["--head", "--port=0", "--include-dashboard=false"] if plan.join is None else [f"--address={plan.join}"]
        own = _own_address() if plan.address == AUTO else plan.address
        if own is not None:
            where.append(f"--node-ip-address={own}")
        return [
            sys.executable, "-m", "ray.scripts.scripts", "start", *where, "--block",
            f"--temp-dir={self._folder / 't'}",
            f"--num-cpus={plan.cpus}",
            f"--num-gpus={plan.gpus}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            "--include-log-monitor=false",
            "--disable-usage-stats",
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        home = self._folder / "home"
        return {**os.environ, **ray_environment(self._plan.token, home, self._plan.address), MARK: self._mark}

    def _said(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return one_line(" ".join(lines[-3:]))[-500:] or "it said nothing"


def ray_environment(token: Path, home: Path, address: str) -> dict[str, str]:
    """The variables that Ray's processes and whoever talks to them need: own secret, own home, nothing told to others.

    Args:
        token: file with the cluster's secret.
        home: a folder of this cluster's own, because Ray leaves files in the home that change later clusters.
        address: of this node.
    """
    own = {
        "HOME": str(home),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        # First what the sweep's workers import, which is a copy.
        "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[2])]).strip(":"),
    }
    if address == LOOPBACK:
        # Ray then takes 127.0.0.1 for its address and listens nowhere else. It otherwise replaces that address by
        # one of the network, and listens on every interface whatever address it was given.
        own["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return own


def write_token(path: Path) -> None:
    """Write a new secret that nobody else can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secrets.token_hex(32))


def _new_folder(mark: str) -> Path:
    """A folder of this user alone, with a short name."""
    parent = tempfile.gettempdir()
    folder = Path(parent if len(parent) <= LONGEST_FOLDER else "/tmp", f"gb-ray-{mark}")  # noqa: S108
    folder.mkdir(mode=0o700)
    return folder


def _own_address() -> str | None:
    """What the other nodes of a Slurm allocation know this one by; None leaves it to Ray."""
    with suppress(OSError):
        address = socket.gethostbyname(os.environ.get("SLURMD_NODENAME", socket.gethostname()))
        if not address.startswith("127."):
            return address
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m harness.ray.node``."""
    parser = argparse.ArgumentParser(prog="python -m harness.ray.node", description="Keep one node of a Ray cluster.")
    parser.add_argument("records", type=Path, help="folder for the node's record")
    parser.add_argument("--token", type=Path, required=True, help="file with the cluster's secret")
    parser.add_argument("--cpus", type=int, required=True, help="logical CPUs to offer")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs to offer (default: %(default)s)")
    parser.add_argument("--join", metavar="ADDRESS", help="address of the cluster (default: start one)")
    parser.add_argument("--address", default=LOOPBACK, help="this node's address (default: %(default)s)")
    parser.add_argument("--parent", type=int, help="process id of the parent; the node ends with it")
    arguments = parse(parser, argv)

    def command() -> int:
        from harness.work.worker import stop_event

        stop = stop_event(arguments.parent)
        plan = NodePlan(
            arguments.records.absolute(),
            arguments.token.absolute(),
            arguments.cpus,
            arguments.gpus,
            arguments.join,
            arguments.address,
        )
        node = RayNode(plan)
        try:
            node.start(stop)
            while not stop.wait(POLL_SECONDS):
                node.check()
        finally:
            node.end()
        return EXIT_DONE

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
