"""Starts the processes of a cluster in their order, keeps the state file, ends them in the reverse order."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.core.errors import RequestError, one_line
from harness.core.output import complain
from slurm.cluster import daemons, namespaces
from slurm.cluster.configuration import write_configuration
from slurm.cluster.daemons import Daemon
from slurm.cluster.folder import prepare
from slurm.cluster.processes import ProcessId, end_all, wait_until
from slurm.cluster.records import ClusterState, StartedProcess, load_state, record_of
from slurm.cluster.requirements import program
from slurm.cluster.settings import Layout

START_SECONDS = 60.0
"""How long a daemon may take on a busy machine before it is taken to have failed."""


class DaemonLauncher:
    """Starts and ends the processes of one cluster; the caller holds its lock.

    Args:
        layout: where the cluster's files lie.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def refuse_second(self) -> None:
        """Make sure that no cluster runs in the folder.

        Raises:
            RequestError: one does, or parts of one.
        """
        state = load_state(self.layout) if self.layout.state.exists() else None
        names = [record.name for record in state.records if record.process.alive] if state else []
        if state and len(names) == len(state.records) > 0:
            raise RequestError(f"{self.layout.root}: the cluster is running already; stop it first to start a new one")
        if names or namespaces.members(self.layout):
            raise RequestError(
                f"{self.layout.root}: parts of a cluster still run ({', '.join(names) or 'jobs'}); stop it"
            )

    def start_all(self, state: ClusterState) -> None:
        """Start everything and wait until the controller answers and every node is idle.

        Raises:
            RequestError: a daemon does not start.
        """
        layout, settings = self.layout, state.settings
        prepare(layout, settings)
        write_configuration(layout, settings)
        state.save(layout.state)
        self._spawn(namespaces.HOLDER, namespaces.creation(layout), Path("/"))
        self._await(namespaces.HOLDER, lambda: "ready" in self._output(namespaces.HOLDER).read_text().split())
        self._spawn_inside(daemons.munged(layout))
        if settings.accounting:
            self._run(daemons.database_files(layout))
            self._launch(daemons.database(layout))
        self._await_daemon(daemons.munged(layout))
        if settings.accounting:
            self._launch(daemons.accounting())
            self._run([program("sacctmgr"), "-i", "add", "cluster", "little"])
            limits = {"MaxSubmitJobs": settings.max_submit_jobs, "MaxJobs": settings.max_running_jobs}
            given = [f"{name}={value}" for name, value in limits.items() if value is not None]
            if given:
                self._run([program("sacctmgr"), "-i", "modify", "user", "root", "set", *given])
        self._launch(daemons.controller(new=True))
        nodes = [daemons.node(name, index) for index, name in enumerate(settings.node_names)]
        for node in nodes:
            self._spawn_inside(node, node=node.name)
        for node in nodes:
            self._await_daemon(node)
        if not wait_until(lambda: self._idle(len(nodes)), START_SECONDS, every=0.05):
            raise RequestError(f"{layout.root}: not every node is idle after {START_SECONDS:.0f} s; see its log folder")

    def start(self, daemon: Daemon, node: str | None = None) -> None:
        """Start one daemon again and wait until it answers.

        Args:
            daemon: which.
            node: the node whose host name it gets; the login host when None.

        Raises:
            RequestError: it runs, or does not start, or the cluster does not run.
        """
        state = load_state(self.layout)
        if state is not None and state.alive(daemon.name):
            raise RequestError(f"{self.layout.root}: {daemon.name} is running already")
        self._spawn_inside(daemon, node)
        self._await_daemon(daemon)

    def kill(self, name: str, *, hard: bool = True) -> None:
        """End one daemon and wait for its end.

        Args:
            name: its record's name.
            hard: by SIGKILL; else by SIGTERM, and SIGKILL after 30 s.

        Raises:
            RequestError: it does not run.
        """
        record = self._record(name)
        if not record.process.alive:
            raise RequestError(f"{self.layout.root}: {name} does not run")
        if not hard:
            record.process.signal(signal.SIGTERM)
            wait_until(lambda: not record.process.alive, seconds=30)
        self._end(record.process)

    def end_all(self) -> int:
        """End every recorded process in the reverse order of their start, then whatever else the cluster left running.

        Returns:
            How many processes were ended.
        """
        try:
            state = load_state(self.layout)
        except RequestError as error:
            # The processes are known by what they see, too.
            complain(f"warning: {one_line(str(error))}")
            state = None
        alive = [record.process for record in reversed(state.records) if record.process.alive] if state else []
        for process in alive:
            self._end(process)
        others = end_all(lambda: namespaces.members(self.layout))
        for child in self._children.values():
            child.wait()
        self._children.clear()
        namespaces.remove_cgroups(self.layout)
        if state is not None:
            replace(state, records=()).save(self.layout.state)
        return len(alive) + others

    def _end(self, process: ProcessId) -> None:
        end_all(lambda: [process] if process.alive else [])
        child = self._children.pop(process.pid, None)
        if child is not None:
            child.wait()

    def _launch(self, daemon: Daemon) -> None:
        self._spawn_inside(daemon)
        self._await_daemon(daemon)

    def _spawn_inside(self, daemon: Daemon, node: str | None = None) -> None:
        command = daemon.command if node is None else namespaces.on_node(self.layout, node, daemon.command)
        self._spawn(daemon.name, namespaces.inside(self._record(namespaces.HOLDER).pid, Path("/"), command), Path("/"))

    def _spawn(self, name: str, command: list[str], folder: Path) -> None:
        # In a session of its own: a terminal's Ctrl-C must not reach it. Nothing of the caller's environment either.
        environment = {"PATH": os.defpath + ":/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": "/"}
        with self._output(name).open("ab") as out:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=environment,
                cwd=folder,
            )
        self._children[child.pid] = child
        self._note(name, child.pid)

    def _await_daemon(self, daemon: Daemon) -> None:
        pid = self._record(daemon.name).pid
        self._await(daemon.name, lambda: daemon.answers(pid))

    def _await(self, name: str, answers: Callable[[], bool]) -> None:
        process = self._record(name).process
        if not wait_until(lambda: not process.alive or answers(), START_SECONDS):
            raise RequestError(
                f"{self.layout.root}: {name} does not answer after {START_SECONDS:.0f} s{self._cause(name)}"
            )
        # It has entered its namespaces only now.
        self._note(name, process.pid)

    def _note(self, name: str, pid: int) -> None:
        """Write a started process into the state file.

        Raises:
            RequestError: it has ended.
        """
        record, state = record_of(name, pid), load_state(self.layout)
        if record is None or state is None:
            raise RequestError(f"{self.layout.root}: {name} ended at its start{self._cause(name)}")
        state.with_record(record).save(self.layout.state)

    def _cause(self, name: str) -> str:
        for log in (self.layout.log(name), self._output(name)):
            if words := daemons.last_words(log):
                return f": {words} ({log})"
        return ""

    def _output(self, name: str) -> Path:
        return self.layout.logs / f"{name}.out"

    def _record(self, name: str) -> StartedProcess:
        state = load_state(self.layout)
        record = state.record(name) if state is not None else None
        if record is None:
            raise RequestError(f"{self.layout.root}: {name} was not started in this cluster")
        return record

    def _run(self, command: list[str]) -> None:
        """Run a command of the set-up inside.

        Raises:
            RequestError: it fails.
        """
        done = self._try(command)
        if done.returncode != 0:
            words = one_line(done.stderr or done.stdout)[-300:]
            raise RequestError(f"{self.layout.root}: {Path(command[0]).name} failed: {words}")

    def _try(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        inside = namespaces.inside(self._record(namespaces.HOLDER).pid, Path("/"), command)
        environment = namespaces.inner_environment()
        try:
            return subprocess.run(
                inside, env=environment, capture_output=True, text=True, timeout=START_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise RequestError(f"{self.layout.root}: {command[0]} hangs; see the folder log/ there") from None

    def _idle(self, nodes: int) -> bool:
        done = self._try([program("sinfo"), "--noheader", "--partition=batch", "--format=%D %T"])
        return done.stdout.split() == [str(nodes), "idle"]
