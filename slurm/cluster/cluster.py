"""A running little cluster: commands in it, nodes lost and restored, the controller killed and started again."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.core.errors import RequestError, one_line, suggestion
from slurm.cluster import daemons, jobs, namespaces
from slurm.cluster.folder import is_foreign, made_folder, remove_folder, usable_root
from slurm.cluster.launcher import DaemonLauncher
from slurm.cluster.processes import ProcessId, end_all, wait_until
from slurm.cluster.records import ClusterState, boot_id, load_state, locked
from slurm.cluster.requirements import require
from slurm.cluster.settings import Layout, Settings


class LittleCluster:
    """A cluster in one folder; as a context manager, from its start to its end.

    ``with LittleCluster() as cluster: cluster.run(["sinfo"])``. Objects are cheap: any process may make one for the
    folder of a running cluster (`LittleCluster.at`) and command it; several at once wait for each other.

    Args:
        root: the folder for everything; one below the system's temporary folder, removed by `stop`, when None.
        settings: size and limits; those of the running cluster where there is one.
        keep: leave a folder that was made by `start` in place.

    Raises:
        RequestError: the folder's path cannot be used.
    """

    def __init__(self, root: Path | None = None, settings: Settings | None = None, *, keep: bool = False) -> None:
        self.settings = settings or Settings()
        self.keep = keep
        self._wanted = None if root is None else usable_root(root)
        self._started: DaemonLauncher | None = None if self._wanted is None else DaemonLauncher(Layout(self._wanted))

    @classmethod
    def at(cls, root: Path) -> Self:
        """The cluster that lives, or lived, in a folder.

        Raises:
            RequestError: there is none.
        """
        cluster = cls(root)
        state = load_state(cluster.layout)
        if state is None:
            raise RequestError(
                f"{cluster.root}: no little cluster was started there; give the folder that start printed"
            )
        cluster.settings = state.settings
        return cluster

    @property
    def layout(self) -> Layout:
        """Where its files lie.

        Raises:
            RequestError: it was not started, and no folder was given.
        """
        return self._launcher.layout

    @property
    def root(self) -> Path:
        """The folder of everything."""
        return self.layout.root

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start every daemon and wait until all nodes are idle: some seconds.

        What an earlier cluster left in the folder is removed first.

        Raises:
            RequestError: something is missing on this machine; one runs in the folder already; the folder holds other
                things; a daemon does not start (its last log line is told, and nothing is left running).
        """
        require(self.settings.accounting)
        made = self._wanted is None
        launcher = self._started = DaemonLauncher(Layout(made_folder() if self._wanted is None else self._wanted))
        if is_foreign(self.layout):
            raise RequestError(f"{self.root}: holds other files; choose a new or an empty folder as --root")
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.layout):
            launcher.refuse_second()
            try:
                launcher.start_all(ClusterState(self.settings, made, boot_id()))
            except BaseException:
                # Ctrl-C too. The logs stay.
                launcher.end_all()
                raise
        return self

    def stop(self) -> int:
        """End every process of the cluster at once, jobs and commands in it included; how many there were.

        Works after a crash of any of them, or of the command that started them. Temporary folders are removed.

        Raises:
            RequestError: no cluster was ever started in the folder; the command comes from inside the cluster.
        """
        if namespaces.is_inside(self.layout):
            raise RequestError(f"{self.root}: a cluster cannot be stopped from inside it; give the command outside")
        if not self.layout.etc.is_dir():
            raise RequestError(f"{self.root}: no little cluster was started there; give the folder that start printed")
        with locked(self.layout):
            ended = self._launcher.end_all()
            if self._made_root() and not self.keep:
                remove_folder(self.root)
        return ended

    def state(self) -> ClusterState:
        """What was started.

        Raises:
            RequestError: nothing.
        """
        state = load_state(self.layout)
        if state is None:
            raise RequestError(f"{self.root}: no little cluster was started there; give the folder that start printed")
        return state

    def command(self, command: Sequence[str], folder: Path | None = None) -> list[str]:
        """The command that becomes ``command`` in the cluster, with its process id, signals and exit code.

        Args:
            command: program and arguments; no shell reads them.
            folder: working folder; the current one when None.

        Raises:
            RequestError: the cluster does not run.
        """
        record = self.state().record(namespaces.HOLDER)
        if record is None or not record.process.alive:
            raise RequestError(f"{self.root}: the cluster does not run; start it")
        return namespaces.inside(record.pid, folder or Path.cwd(), command)

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        text: str | None = None,
        timeout: float = 60.0,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the login host and wait for its end.

        Args:
            command: program and arguments; no shell reads them.
            folder: working folder; the current one when None.
            environment: what to add to this process's environment, from which Slurm's own variables are left out.
            text: its standard input.
            timeout: seconds until it is killed.
            check: raise subprocess.CalledProcessError for exit codes other than 0.

        Raises:
            RequestError: the cluster does not run.
            subprocess.TimeoutExpired: it took too long.
        """
        return subprocess.run(
            self.command(command, folder),
            env={**namespaces.inner_environment(), **(environment or {})},
            input=text or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )

    def processes(self, node: str | None = None) -> list[ProcessId]:
        """Everything that runs in the cluster, or on one of its nodes: daemons, jobs and all that they started."""
        if node is None:
            return namespaces.members(self.layout)
        return namespaces.node_members(self.layout, self._known(node))

    def lose(self, node: str, *, hard: bool = False) -> None:
        """Kill a node's slurmd; its jobs go on unseen. With ``hard``, kill every process of the node, as a power cut.

        Raises:
            RequestError: no such node, or its slurmd does not run and ``hard`` was not asked for.
        """
        self._known(node)
        with locked(self.layout):
            if hard:
                end_all(lambda: namespaces.node_members(self.layout, node))
            else:
                self._launcher.kill(node)

    def restore(self, node: str, *, wait: bool = True) -> None:
        """Start a node's slurmd again and wait until the controller takes the node as available.

        Args:
            node: its name.
            wait: do so; not possible while the controller is away.

        Raises:
            RequestError: no such node, it runs, or it is not available within 30 s.
        """
        self._known(node)
        with locked(self.layout):
            self._launcher.start(daemons.node(node, self.state().settings.node_names.index(node)), node=node)
        if not wait or not self.state().alive(daemons.CONTROLLER):
            return
        if not wait_until(lambda: self._available(node), seconds=30, every=0.2):
            raise RequestError(f"{self.root}: {node} is {self.node_states().get(node)} 30 s after its return; see log/")

    def kill_controller(self, *, hard: bool = True) -> None:
        """Kill slurmctld, or with ``hard=False`` let it write its state first.

        Killed hard within 5 s of a submission, Slurm 22.05 forgets the job and gives its number to another.

        Raises:
            RequestError: it does not run.
        """
        with locked(self.layout):
            self._launcher.kill(daemons.CONTROLLER, hard=hard)

    def start_controller(self) -> None:
        """Start slurmctld again, with the jobs that it wrote down.

        Raises:
            RequestError: it runs, or does not start.
        """
        with locked(self.layout):
            self._launcher.start(daemons.controller(new=False))

    def kill_accounting(self) -> None:
        """Kill slurmdbd: sacct fails, jobs go on.

        Raises:
            RequestError: it does not run.
        """
        with locked(self.layout):
            self._launcher.kill(daemons.ACCOUNTING)

    def start_accounting(self) -> None:
        """Start slurmdbd again.

        Raises:
            RequestError: it runs, or does not start.
        """
        with locked(self.layout):
            self._launcher.start(daemons.accounting())

    def node_states(self) -> dict[str, str]:
        """Node to state in sinfo's words: idle, mixed, down*, … (the star: no answer); empty when it fails."""
        done = self.run(["sinfo", "--noheader", "--Node", "--format=%N %T"])
        return dict(line.split() for line in done.stdout.splitlines())

    def job_states(self, job: str) -> dict[str, str]:
        """Job or array task, as 12 or 12_3, to Slurm's state; finished ones are known for five minutes.

        Raises:
            RequestError: no such job, or the controller does not answer.
        """
        return jobs.states(self.run, job)

    def wait_for(self, job: str, *states: str, timeout: float = 60.0) -> dict[str, str]:
        """Wait until a job, or every task of an array, is in one of the given states; `job_states` then.

        Args:
            job: its number.
            states: such as RUNNING or COMPLETED.
            timeout: seconds.

        Raises:
            RequestError: it took longer, or a state is unknown to Slurm, or there is no such job.
        """
        return jobs.wait_for(self.run, job, states, timeout)

    def submit(self, *arguments: str, script: str | None = None, folder: Path | None = None) -> str:
        """Give sbatch some arguments and, on its standard input, a script; the new job's number.

        Raises:
            RequestError: sbatch refuses, with its own words.
        """
        done = self.run(["sbatch", "--parsable", *arguments], text=script, folder=folder)
        if done.returncode != 0:
            raise RequestError(f"sbatch: {one_line(done.stderr)}")
        return done.stdout.strip().partition(";")[0]

    def _made_root(self) -> bool:
        try:
            state = load_state(self.layout)
        except RequestError:
            return False
        return state is not None and state.made_root

    def _available(self, node: str) -> bool:
        state = self.node_states().get(node, "")
        if state.startswith(("down", "drain")) and not state.endswith("*"):
            # Slurm keeps a node out of service that came back with a step still running.
            self.run(["scontrol", "update", f"nodename={node}", "state=resume"])
            return False
        return state.startswith(("idle", "mixed", "alloc", "comp")) and not state.endswith("*")

    def _known(self, node: str) -> str:
        names = self.state().settings.node_names
        if node not in names:
            raise RequestError(f"{self.root}: no node {node!r}{suggestion(node, names)}")
        return node

    @property
    def _launcher(self) -> DaemonLauncher:
        if self._started is None:
            raise RequestError("little cluster: not started yet; call start()")
        return self._started
