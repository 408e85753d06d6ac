"""The Slurm launcher: submits jobs and leaves; nothing on the login node has to stay alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED
from harness.launch.packing import least
from harness.launch.slurm.profile import profile_of
from harness.launcher import Launch, Launcher, LauncherOptions

if TYPE_CHECKING:
    from harness.core.console import Console
    from harness.launch.slurm.profile import Profile
    from harness.run.directory import RunDirectory
    from harness.spec.sections import LaunchSpec
    from harness.work.scheduler import Scheduler


class SlurmLauncher(Launcher):
    """Jobs of a Slurm cluster, as ``launch.profile`` describes it."""

    name = "slurm"

    def __init__(self, settings: LaunchSpec, options: LauncherOptions | None = None) -> None:
        super().__init__(settings, options)
        self._profile: Profile | None = None

    def trials_at_once(self) -> int:
        """Jobs times trials on each."""
        from harness.launch.slurm.submit import MOST_WORKERS

        jobs = MOST_WORKERS if self.settings.workers == "auto" else self.settings.workers
        return jobs * least(self.settings.trials_per_device)

    def check_settings(self) -> None:
        """Read the profile."""
        profile_of(self.settings)

    def check(self, launch: Launch) -> None:
        """Check that the profile fits the cluster, and that there is one."""
        from harness.launch.slurm.launcher import check

        self._profile = check(launch.run, launch.spec, launch.roots, launch.console)

    def carry_out(self, launch: Launch, scheduler: Scheduler) -> int | None:
        """Submit the jobs that the run is short of, and watch them if the user wants to."""
        from harness.launch.slurm.launcher import follow, submit

        assert self._profile is not None
        console = launch.console
        submit(launch.run, launch.spec, self._profile, launch.roots, scheduler, launch.command, console)
        if not launch.wait:
            return EXIT_DONE
        try:
            if follow(launch.run, scheduler, console):
                return None
        except KeyboardInterrupt:
            console.print("no longer watching; the jobs go on (--cancel ends them)")
            return EXIT_INTERRUPTED
        console.print("no job is left, some trials are; the same command submits more, harness.status tells what ended")
        return EXIT_SOME_FAILED

    @classmethod
    def cancel(cls, run: RunDirectory, console: Console) -> int | None:
        """End the jobs: those that wait at once, those that run when they have written their checkpoints."""
        from harness.launch.slurm.files import SlurmFiles

        if not SlurmFiles(run).exists:
            return None
        from harness.launch.slurm.launcher import cancel

        return cancel(run, console)
