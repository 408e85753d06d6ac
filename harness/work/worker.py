"""A worker: claims trials and runs them until nothing is left, or until it is told to stop.

Started by a launcher as ``python -m harness.work.worker RUN``. SIGTERM and SIGUSR2 make it write a checkpoint, give its
trial back and leave; so does the death of the launcher that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from harness.core.arguments import parse
from harness.core.errors import EXIT_DONE, RequestError, describe_os_error, run_command
from harness.core.infrastructure import Patience, is_infrastructure, patiently
from harness.core.lease import LeaseLost, given_back, view
from harness.core.visible_gpus import take_device
from harness.run.directory import PlanToken, RunDirectory
from harness.run.news import News
from harness.run.spent import STOPPED_BY_ERROR
from harness.studies.planner import Planner
from harness.studies.study import Roots, Study
from harness.work.bell import Bell
from harness.work.claims import ClaimedTrial
from harness.work.notices import Notices
from harness.work.others import Others
from harness.work.running import run_claimed
from harness.work.scheduler import PlanChanged, Scheduler
from harness.work.worker_report import EXIT_CROWDED, EXIT_STOPPED, write_report

if TYPE_CHECKING:
    import torch

LONGEST_PAUSE = 20.0
SHORTEST_PAUSE = 0.001
"""Seconds between two looks of a worker that has nothing to do. Often another one is about to ask for its slot, after
which the next can be claimed, so the first looks follow each other quickly; on the same host a bell announces it."""
PAUSE_AT_ONCE = 1.0
"""From this pause on workers of many hosts spread their looks: by up to a half less, or more."""
CROWD_SECONDS = 3.0
"""Within so long all idle workers look whether a worker that is probably gone has left its trial."""
_SPREAD = secrets.SystemRandom()


class Worker:
    """Runs trials of one run directory on one device.

    Args:
        stop: ends it, with a checkpoint of the running trial.
        report: where it says what it is at; None says nothing.
        until: end of its time, seconds since the epoch; it begins nothing then that it could not end or interrupt.
        packed: whether others may use the device too: it then ends where memory runs out, and the trial is no failure.
    """

    def __init__(
        self,
        run: RunDirectory,
        roots: Roots,
        device: torch.device,
        threads: int,
        stop: threading.Event,
        report: Path | None = None,
        until: float = math.inf,
        packed: bool = False,
    ) -> None:
        self._run, self._roots, self._device, self._threads, self._stop = run, roots, device, threads, stop
        self._report, self._until, self._packed = report, until, packed
        self._peak = 0
        self._looks = 0
        """How often in a row there was nothing to claim."""
        self._plan: PlanToken | None = None
        self._scheduler: Scheduler | None = None
        self._notices = Notices(run, "", ())
        self._patience = Patience()
        self._resident: dict[str, torch.Tensor] = {}
        self._bell = Bell(run.path)

    def work(self) -> int:
        """Run trials until nothing is left; returns the exit code.

        Raises:
            RequestError: the run directory, a plugin or the data do not allow to go on.
        """
        from harness.train.job import OutOfRoom

        try:
            while not self._stop.is_set():
                if not self.turn():
                    code = patiently(self._write_report, self._say_waiting)
                    if self._scheduler is not None and code == EXIT_DONE:
                        self._notices.ended(self._scheduler)
                    return code
        except OutOfRoom:
            return EXIT_CROWDED
        finally:
            self._bell.remove()
        return EXIT_STOPPED

    def turn(self) -> bool:
        """Run one trial, or wait for others' results, a file system that fails or a new plan; False when nothing is
        left.

        Raises:
            RequestError: as ``work``.
            OSError: the infrastructure has failed for too long.
            OutOfRoom: memory ran out, and others may use the device too.
        """
        try:
            more = self._turn()
        except PlanChanged:
            self._scheduler = None
            self._wait()
            return True
        except LeaseLost:
            # It slept so long before or after its training that another worker has the trial.
            return True
        except OSError as error:
            if not is_infrastructure(error):
                raise
            # What was read may be a part only.
            self._scheduler = None
            self._say_waiting(error, self._patience.pause(error))
            return True
        self._patience.calm()
        return more

    def _turn(self) -> bool:
        scheduler = self._current_scheduler()
        if scheduler is None:
            self._wait()
            return True
        with scheduler.look():
            taken = scheduler.claim_next(self._until - time.time())
            complete = taken is None and scheduler.complete()
            if taken is not None:
                with given_back(taken.lease, STOPPED_BY_ERROR):
                    scheduler.tell_claimed(taken)
                    self._say(str(taken.folder.path.relative_to(self._run.path)))
            elif not complete and self._looks == 0:
                self._say(None)
        if taken is not None:
            self._looks = 0
            self._bell.ring()
            try:
                with given_back(taken.lease, STOPPED_BY_ERROR):
                    images = self._images_of(taken)
                result = run_claimed(taken, self._device, self._stop, images, shares_device=self._packed)
            finally:
                scheduler.tell_ended(taken)
                self._bell.ring()
            if result is not None and result["status"] == "failed":
                self._notices.failed(taken.folder, result)
            self._note_memory()
        elif complete:
            scheduler.record()
            return False
        else:
            self._wait()
        return True

    def _say_waiting(self, error: OSError, pause: float) -> None:
        print(f"waiting {pause:.2g} s: {describe_os_error(error)}", file=sys.stderr, flush=True)
        self._stop.wait(pause)

    def _wait(self) -> None:
        seconds = pause(self._looks)
        if seconds >= PAUSE_AT_ONCE:
            seconds *= _SPREAD.uniform(0.5, 1.5)
        if self._scheduler is not None:
            seconds = min(seconds, self._scheduler.doubtful_in() + _SPREAD.uniform(0.0, CROWD_SECONDS))
        self._bell.wait(self._stop, seconds)
        self._looks += 1

    def _write_report(self) -> int:
        from harness.work.reporting import refresh_report

        try:
            with interrupted_by_signals(self._stop):
                refresh_report(self._run)
        except KeyboardInterrupt:
            return EXIT_STOPPED
        return EXIT_DONE

    def _say(self, trial: str | None) -> None:
        if self._report is not None:
            assert self._scheduler is not None
            memory = (self._peak, _device_bytes(self._device)) if self._peak else None
            write_report(self._report, trial, self._scheduler.claimable(), memory)

    def _note_memory(self) -> None:
        import torch

        if self._device.type == "cuda":
            self._peak = max(self._peak, torch.cuda.max_memory_reserved(self._device))

    def _current_scheduler(self) -> Scheduler | None:
        """What follows the present plan; None while that is being changed."""
        plan = self._run.plan()
        if plan is not None and plan.changing:
            planner = view(self._run.lock_folder)
            if planner is not None and planner.dead and self._run.plan() == plan:
                raise RequestError(f"{self._run.path}: was being planned anew when that ended; run the sweep again")
            return None
        if self._scheduler is None or plan != self._plan:
            try:
                spec, studies = load_studies(self._run, self._roots)
            except (RequestError, OSError):
                if self._run.plan() != plan:
                    raise PlanChanged from None
                raise
            self._plan = plan
            # Before the results are read: what is finished meanwhile is told.
            others = None if plan is None else Others(News(self._run, plan.token))
            self._scheduler = Scheduler.of(self._run, spec, studies, self._threads, plan=plan, others=others)
            self._notices = Notices(self._run, spec.name, spec.launch.notify)
            self._scheduler.record()
        return self._scheduler

    def _images_of(self, taken: ClaimedTrial) -> torch.Tensor:
        from harness.train.data import resident_images

        key = taken.job.data.fingerprint
        if key not in self._resident:
            self._resident[key] = resident_images(taken.job.data, self._device)
        return self._resident[key]


def pause(looks: int) -> float:
    """Seconds to wait after so many earlier looks in a row that found nothing: half as long again each time."""
    return min(LONGEST_PAUSE, SHORTEST_PAUSE * 1.5 ** min(looks, 32))


def _device_bytes(device: torch.device) -> int:
    import torch

    return int(torch.cuda.get_device_properties(device).total_memory)


def load_studies(run: RunDirectory, roots: Roots) -> tuple[Any, list[Study]]:
    """The specification of a run directory and its studies, checked against what the sweep recorded.

    Raises:
        RequestError: code or data on this machine differ from what the sweep was planned with.
    """
    from harness.core.identity import differences
    from harness.plugins import discover
    from harness.run.code import plugin_folders
    from harness.spec.sections import SweepSpec

    spec = SweepSpec.model_validate(run.spec())
    catalogue = discover(plugin_folders(spec.plugins))
    studies = Planner(spec, catalogue, run, roots).studies()
    for study in studies:
        changed = differences(study.folder.description()["identity"], study.identity)
        if changed:
            raise RequestError(f"{study.name}: {changed[0]} since the sweep was planned; run the sweep command again")
    return spec, studies


def stop_event(parent: int | None) -> threading.Event:
    """What is set when this process is to end: by a signal, or because the one that started it is gone.

    Args:
        parent: its process id; None where nobody is watched.
    """
    stop = threading.Event()
    stop_on_signals(stop)
    if parent is not None:
        _stop_without_parent(parent)
    return stop


def _stop_without_parent(parent: int) -> None:

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def stop_on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and SIGUSR2 ask for a checkpoint and an orderly end; leave Ctrl-C to the launcher."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGUSR2, handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def interrupted_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let those signals raise KeyboardInterrupt at once, for work that leaves no checkpoint and is begun anew.

    A writer of the report that was killed instead would keep all others from it until its lease expires.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        # Once: a second one would interrupt the giving back of the lease.
        if not stop.is_set():
            stop.set()
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGUSR2, handle)
    try:
        if stop.is_set():
            raise KeyboardInterrupt
        yield
    finally:
        stop_on_signals(stop)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m harness.work.worker``."""
    parser = argparse.ArgumentParser(prog="python -m harness.work.worker", description="Run trials of a run directory.")
    parser.add_argument("run", type=Path, help="the run directory")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:N or MIG-NAME (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a trial (default: %(default)s)")
    parser.add_argument("--parent", type=int, help="process id of the launcher; the worker ends with it")
    parser.add_argument("--report", type=Path, help="file in which the worker reports what it is doing")
    parser.add_argument("--share", type=int, default=1, help="workers that share the device (default: %(default)s)")
    parser.add_argument("--packed", action="store_true", help="more workers may join on the device later")
    parser.add_argument("--until", type=float, default=math.inf, help="time limit, in seconds since the epoch")
    parser.add_argument("--data-root", type=Path, help="folder of the raw archives")
    parser.add_argument("--cache-root", type=Path, help="folder of the decoded arrays")
    arguments = parse(parser, argv)

    def command() -> int:
        stop = stop_event(arguments.parent)
        device_name = take_device(arguments.device)
        import torch

        from harness.data.cache import default_cache_root, default_data_root
        from harness.train.device import usable_device

        torch.set_num_threads(arguments.threads)
        run = RunDirectory(arguments.run)
        run.require()
        roots = Roots(arguments.data_root or default_data_root(), arguments.cache_root or default_cache_root())
        device = usable_device(device_name)
        if device.type == "cuda" and arguments.share > 1:
            # So that a trial that wants too much runs out of memory itself, and not its neighbours.
            torch.cuda.set_per_process_memory_fraction(1.0 / arguments.share, device)
        given = (arguments.report, arguments.until, arguments.packed)
        return Worker(run, roots, device, arguments.threads, stop, *given).work()

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
