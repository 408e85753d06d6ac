"""The base of launchers whose workers end with the sweep command, which waits for them and shows their progress."""

from __future__ import annotations

import os
import signal
from abc import abstractmethod
from typing import TYPE_CHECKING

from harness.core.errors import EXIT_INTERRUPTED, EXIT_SOME_FAILED
from harness.launch import this_machine
from harness.launcher import Launch, Launcher, LauncherOptions, Places, Workers
from harness.run.code import environment, take_snapshot

if TYPE_CHECKING:
    from harness.spec.sections import LaunchSpec
    from harness.work.scheduler import Scheduler


class ForegroundLauncher(Launcher):
    """A launcher that gives workers; all else is here.

    Args:
        settings: the sweep's section ``launch``.
        options: the launcher's own options; None for the defaults.
    """

    def __init__(self, settings: LaunchSpec, options: LauncherOptions | None = None) -> None:
        super().__init__(settings, options)
        self._made: tuple[Workers, Launch] | None = None

    @abstractmethod
    def workers(self, launch: Launch) -> Workers:
        """The workers of a launch, none of which is started yet: the run may not be planned yet.

        Where ``copies_code``, the environment of this process makes every Python that it starts import the copy.
        """

    def places(self) -> Places:
        """One worker a device, or as many as fit the cores, unless the sweep says how many."""
        return this_machine.places(self.settings)

    def trials_at_once(self) -> int:
        """One a worker."""
        return self.places().workers

    def prepare(self, launch: Launch) -> None:
        """Make the workers."""
        if self.copies_code:
            os.environ.update(environment(take_snapshot(launch.run, launch.spec.plugins)))
        self._made = self.workers(launch), launch

    def carry_out(self, launch: Launch, scheduler: Scheduler) -> int | None:
        """Run the workers until all is done."""
        from harness.launch.display import Display

        if self._made is None:
            self.prepare(launch)
        assert self._made is not None
        workers, console, interrupted = self._made[0], launch.console, False
        # A scheduler or a closing terminal ends the sweep with SIGTERM: stop as on Ctrl-C. A shell that starts it in
        # the background makes it ignore SIGINT, which would leave no way to stop it in order.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            with Display(scheduler, workers.count, console) as display:
                workers.start()
                while workers.poll():
                    display.refresh()
                    workers.pause()
        except KeyboardInterrupt:
            console.print("stopping: running trials write their checkpoints (Ctrl-C again to kill them)")
            interrupted = True
        finally:
            self.close()
        if interrupted:
            console.print("interrupted; the same command resumes from here")
            return EXIT_INTERRUPTED
        if not scheduler.complete():
            console.print(
                f"no worker is left, some trials are; what workers said is in {launch.run.workers}; "
                "the same command resumes from here",
                soft_wrap=True, highlight=False, markup=False,
            )  # fmt: skip
            return EXIT_SOME_FAILED
        return None

    def close(self) -> None:
        """Stop the workers, unless that is done."""
        if self._made is not None:
            (workers, launch), self._made = self._made, None
            workers.stop(launch.console.print)
