"""The contract of launchers: a launcher starts the workers of a sweep, or lets a cluster start them.

Most launchers derive from ``harness.launch.foreground.ForegroundLauncher`` and only say how to start a worker; one that
hands the work over to a cluster, as the Slurm launcher does, derives from ``Launcher`` itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from harness.core.pluggable import Pluggable
from harness.core.plugin_options import Options

if TYPE_CHECKING:
    from pathlib import Path

    from harness.core.console import Console
    from harness.run.directory import RunDirectory
    from harness.spec.sections import LaunchSpec, SweepSpec
    from harness.studies.study import Roots
    from harness.work.scheduler import Scheduler

# The class attribute of the same name hides the model inside the class.
LauncherOptions = Options


class Places(NamedTuple):
    """What a launch has of a machine."""

    devices: list[str]
    """``cpu``, or one name a GPU; workers take them in turn."""
    workers: int
    threads: int
    """CPU threads of each worker."""


class Workers(Protocol):
    """The workers of one launch, while the sweep command waits for them."""

    @property
    def count(self) -> int:
        """How many run at a time."""

    def start(self) -> None:
        """Start all of them."""

    def poll(self) -> bool:
        """Look after them; False when none is left and none will be started.

        Raises:
            RequestError: they cannot go on.
        """

    def pause(self) -> None:
        """Wait for a moment, at most about a second."""

    def stop(self, notify: Callable[[str], None]) -> None:
        """End every worker, each with a checkpoint of its trial; also called where none was started, or all have ended.

        Args:
            notify: shows a line to the user.
        """


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a sweep, as its launcher is told of it."""

    run: RunDirectory
    spec: SweepSpec
    roots: Roots
    console: Console
    command: Sequence[str] = ()
    """The command line that resumes the sweep."""
    wait: bool = False
    """Whether the user wants to watch what was handed over to a cluster."""

    def log(self, worker: str) -> Path:
        """The file for what a worker prints.

        Args:
            worker: its name, which no other worker of the run has; see ``unique_name``.
        """
        return self.run.worker_log(worker)


class Launcher(Pluggable, ABC):
    """What starts the workers of a sweep: what the sweep command, its dry run and the plan need of one.

    The sweep command calls, in this order, ``begin``, ``check_settings``, ``check``, ``prepare`` (a new run only),
    ``carry_out`` (if something is left to do) and ``close``.

    Args:
        settings: the sweep's section ``launch``.
        options: the launcher's own options; None for the defaults.
    """

    kind = "launcher"

    Options: ClassVar[type[Options]] = Options
    copies_code: ClassVar[bool] = True
    """Whether workers import a copy of the code, made in the run directory, so that editing a file changes nothing."""

    def __init__(self, settings: LaunchSpec, options: LauncherOptions | None = None) -> None:
        self.settings = settings
        self.options = self.Options() if options is None else options

    @abstractmethod
    def trials_at_once(self) -> int:
        """How many trials run at the same time; what a plan says of the duration rests on it."""

    @abstractmethod
    def carry_out(self, launch: Launch, scheduler: Scheduler) -> int | None:
        """Have everything that is left to do done.

        Args:
            launch: the run and its sweep; it is planned by now.
            scheduler: what is left, such as ``scheduler.claimable()`` and ``scheduler.complete()``.

        Returns:
            The exit code of the sweep command, such as 130 where the user interrupted; None where the results tell.

        Raises:
            RequestError: it cannot be done.
        """

    def places(self) -> Places | None:
        """What it has of this machine, which the probe of a plan imitates; None where workers are elsewhere."""
        return None

    def begin(self) -> None:
        """Begin what takes time and needs neither a run nor plugins. Built-in launchers alone are known so early."""

    def check_settings(self) -> None:
        """Check the section ``launch``, for a dry run too: away from the cluster, before there is a run.

        Raises:
            RequestError: a setting is missing or wrong.
        """

    def check(self, launch: Launch) -> None:
        """Check that a launch is possible here, before anything is prepared.

        Raises:
            RequestError: it is not.
        """

    def prepare(self, launch: Launch) -> None:
        """Begin what takes time while a new run is planned; starts no worker."""

    def close(self) -> None:
        """End what ``begin`` and ``prepare`` have begun and ``carry_out`` has not ended; may be called twice."""

    @classmethod
    def cancel(cls, run: RunDirectory, console: Console) -> int | None:
        """End the run's jobs, with checkpoints; for the option ``--cancel``.

        Returns:
            The exit code; None where this launcher has never launched the run, or has nothing that could be cancelled.

        Raises:
            RequestError: it cannot be done.
        """
        return None
