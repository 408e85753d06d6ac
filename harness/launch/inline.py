"""The inline launcher: trials run in the sweep's own process, one after the other; for debugging and small sweeps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from harness.core.visible_gpus import take_device
from harness.launch.this_machine import available_devices
from harness.run.directory import RunDirectory
from harness.spec.sections import LaunchSpec
from harness.studies.study import Roots
from harness.work.worker import Worker


class InlineWorker:
    """The one worker of a sweep that starts no process."""

    count = 1

    def __init__(self, run: RunDirectory, launch: LaunchSpec, roots: Roots) -> None:
        import torch

        from harness.train.device import usable_device

        threads = torch.get_num_threads() if launch.threads == "auto" else launch.threads
        self._stop = threading.Event()
        self._worker = Worker(run, roots, usable_device(take_device(available_devices()[0])), threads, self._stop)

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
