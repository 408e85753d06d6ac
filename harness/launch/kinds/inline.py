"""The inline launcher: trials run in the sweep's own process, one after the other; for debugging and small sweeps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.core.visible_gpus import take_device
from harness.launch.foreground import ForegroundLauncher
from harness.launch.this_machine import available_devices
from harness.launcher import Launch, Places

if TYPE_CHECKING:
    from harness.run.directory import RunDirectory
    from harness.studies.study import Roots


class InlineLauncher(ForegroundLauncher):
    """The sweep's own process, one trial after the other."""

    name = "inline"
    copies_code = False

    def places(self) -> Places:
        """One worker, with all threads unless the sweep says how many."""
        import torch

        threads = torch.get_num_threads() if self.settings.threads == "auto" else self.settings.threads
        return Places(available_devices(), 1, threads)

    def workers(self, launch: Launch) -> InlineWorker:
        """The one worker."""
        return InlineWorker(launch.run, launch.roots, self.places())


class InlineWorker:
    """The one worker of a sweep that starts no process."""

    count = 1

    def __init__(self, run: RunDirectory, roots: Roots, places: Places) -> None:
        from harness.train.device import usable_device
        from harness.work.worker import Worker

        self._stop = threading.Event()
        device = usable_device(take_device(places.devices[0]))
        self._worker = Worker(run, roots, device, places.threads, self._stop)

    def start(self) -> None:
        """Let Ctrl-C and SIGTERM ask for a checkpoint instead of tearing a training apart."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())

    def poll(self) -> bool:
        """Run the next trial; False when nothing is left to do.

        Raises:
            KeyboardInterrupt: the user asked to stop, and the checkpoint is written.
        """
        more = self._worker.turn()
        if self._stop.is_set():
            raise KeyboardInterrupt
        return more

    def pause(self) -> None:
        """Nothing to wait for."""

    def stop(self, notify: Callable[[str], None]) -> None:
        """Nothing is running any more."""
