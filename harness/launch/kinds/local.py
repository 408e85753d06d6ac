"""The launcher of most sweeps: worker processes on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.launch import this_machine
from harness.launch.foreground import ForegroundLauncher
from harness.launcher import Launch, LauncherOptions

if TYPE_CHECKING:
    from harness.launch.loading import Loading
    from harness.launch.pool import WorkerPool
    from harness.spec.sections import LaunchSpec


class LocalLauncher(ForegroundLauncher):
    """Processes on this machine, as many as it has devices or fit its cores."""

    name = "local"

    def __init__(self, settings: LaunchSpec, options: LauncherOptions | None = None) -> None:
        super().__init__(settings, options)
        self._loading: Loading | None = None

    def begin(self) -> None:
        """Load the packages of workers in the background."""
        self._loading = this_machine.begin_loading(self.settings)

    def workers(self, launch: Launch) -> WorkerPool:
        """A pool, whose modules begin to load."""
        workers = this_machine.local_workers(launch.run, self.settings, launch.roots, loading=self._loading)
        workers.prepare()
        return workers

    def close(self) -> None:
        """Stop the workers, and what no worker has come from."""
        super().close()
        if self._loading is not None:
            self._loading.close()
