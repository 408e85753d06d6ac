"""A Ray cluster of one's own: started step by step, ended by ending exactly what was started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import RequestError
from harness.launch.bounded import end_killed
from harness.launch.pool import unique_name
from harness.ray.node import END_SECONDS, LOOPBACK, MARK, NodeRecord, ray_environment, records, write_token


@dataclass
class RayCluster:
    """A head here and perhaps further nodes, each kept by a process that ends with this one.

    Attributes:
        folder: of the run directory; all nodes see it.
        log: the file for what a keeper says, by a name.
        cpus: logical CPUs of each node.
        gpus: GPUs of each node.
        further: for each further node, the beginning of the command that starts something there.
        address: of the nodes; loopback where there is only this one, ``auto`` for what Slurm calls each of them.
    """

    folder: Path
    log: Callable[[str], Path]
    cpus: int
    gpus: int
    further: Sequence[Sequence[str]] = ()
    address: str = LOOPBACK
    _keepers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _name: str = field(default_factory=unique_name)

    @property
    def token(self) -> Path:
        """The file with the cluster's secret."""
        return self.folder / "token"

    @property
    def nodes(self) -> int:
        """How many nodes it is to have."""
        return 1 + len(self.further)

    def start(self) -> None:
        """Begin to start it, after removing what an earlier one may have left."""
        remove_remains(self.folder)
        write_token(self.token)
        self._start([], ["--address", self.address])

    def poll(self) -> NodeRecord | None:
        """The head once it is up, with the further nodes then started; None before.

        Raises:
            RequestError: a node has ended.
        """
        for number, keeper in enumerate(self._keepers):
            if keeper.poll() is not None:
                raise RequestError(f"a node of Ray ended: {self._said(number)}")
        mine = [record for record in records(self.folder) if record.content.get("pid") == self._keepers[0].pid]
        if not mine or mine[0].address is None:
            return None
        for prefix in self.further[len(self._keepers) - 1 :]:
            self._start(prefix, ["--join", mine[0].address, "--address", self.address])
        return mine[0]

    def environment(self, head: NodeRecord) -> dict[str, str]:
        """What a process needs in its environment to reach the cluster; it ends with the head."""
        home = Path(str(head.content["folder"])) / "home"
        return {**ray_environment(self.token, home, self.address), MARK: str(head.content["mark"])}

    def end(self) -> None:
        """End all nodes, the head last, and wait until they are gone."""
        for keeper in reversed(self._keepers):
            # srun hands USR2 on to what it has started, and kills that when it is itself terminated.
            keeper.send_signal(signal.SIGUSR2)
            with suppress(subprocess.TimeoutExpired):
                keeper.wait(3 * END_SECONDS)
            if keeper.poll() is None:
                end_killed(keeper)
        self._keepers.clear()
        remove_remains(self.folder)

    def _start(self, prefix: Sequence[str], arguments: Sequence[str]) -> None:
        command = [
            *prefix, sys.executable, "-m", "harness.ray.node", str(self.folder),
            "--token", str(self.token),
            "--cpus", str(self.cpus),
            "--gpus", str(self.gpus),
            # On another node the parent is not this process; Slurm ends what it has started there.
            *([] if prefix else ["--parent", str(os.getpid())]),
            *arguments,
        ]  # fmt: skip
        with self._log(len(self._keepers)).open("wb") as log:
            self._keepers.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            )

    def _log(self, number: int) -> Path:
        return self.log(f"ray-{self._name}-node{number}")

    def _said(self, number: int) -> str:
        lines = [line for line in self._log(number).read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].removeprefix("error: ") if lines else f"it said nothing (see {self._log(number)})"


def remove_remains(folder: Path) -> None:
    """End what nodes have left here whose keepers died.

    Raises:
        RequestError: some of it outlives SIGKILL.
    """
    for record in records(folder):
        record.remove_remains()
