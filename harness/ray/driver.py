"""Hands the slots of a run's studies out by Ray Tune, one study after the other: ``python -m harness.ray.driver``.

Started by ``harness.ray.launcher``. Each study is claimed, so that several drivers may work at a time. A driver that
was killed is replaced by one that resumes from the folders: none of Tune's own state is read back.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from harness.core.arguments import parse
from harness.core.errors import EXIT_DONE, run_command
from harness.core.lease import Lease, claim, keep_alive
from harness.run.directory import RunDirectory
from harness.studies.study import Roots
from harness.work.scheduler import Scheduler
from harness.work.state import StudyState
from harness.work.worker import load_studies, stop_event, stop_on_signals
from harness.work.worker_report import EXIT_STOPPED

WAIT_SECONDS = 1.0


class Driver:
    """Searches the studies of a run that are not searched yet.

    Args:
        threads: CPU threads of a trial.
        share: trials that share a GPU; 0 where there is none.
        home: the user's own home, where plugins and weights may look for their files.
        stop: ends it; running trials write checkpoints and give themselves back.
    """

    def __init__(
        self, run: RunDirectory, roots: Roots, threads: int, share: int, home: str, stop: threading.Event
    ) -> None:
        self._run, self._roots, self._threads, self._share = run, roots, threads, share
        self._home, self._stop = home, stop

    def work(self) -> int:
        """Search until nothing is left to search; returns the exit code.

        Raises:
            RequestError: trials cannot run here.
        """
        plan = self._run.plan()
        spec, studies = load_studies(self._run, self._roots)
        scheduler = Scheduler.of(self._run, spec, studies, self._threads, plan=plan)
        while not self._stop.is_set():
            left = scheduler.to_be_driven()
            if not left:
                return EXIT_DONE
            for state in left:
                lease = claim(self._run.engine_folder(state.study.name))
                if lease is not None:
                    self._search(scheduler, state, lease)
                    break
            else:
                # Other drivers have them; one that dies leaves its study.
                self._stop.wait(WAIT_SECONDS)
        return EXIT_STOPPED

    def _search(self, scheduler: Scheduler, state: StudyState, lease: Lease) -> None:
        from harness.ray.trainable import SearchPlace
        from harness.ray.tuning import search

        leave = lease.folder / f"leave-{lease.content['token']}"
        place = SearchPlace(
            run=str(self._run.path),
            study=state.study.name,
            data_root=str(self._roots.data),
            cache_root=str(self._roots.cache),
            home=self._home,
            threads=self._threads,
            share=max(1, self._share),
            leave=str(leave),
            population=state.study.search.pruner == "pbt",
        )
        try:
            with keep_alive(lease):
                search(scheduler, place, 1 / self._share if self._share else 0.0, lease.folder / "tune", self._stop)
        finally:
            leave.unlink(missing_ok=True)
            lease.release("ended")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m harness.ray.driver``."""
    parser = argparse.ArgumentParser(prog="python -m harness.ray.driver", description="Search studies by Ray Tune.")
    parser.add_argument("run", type=Path, help="the run directory")
    parser.add_argument("--address", required=True, help="address of the Ray cluster")
    parser.add_argument("--nodes", type=int, default=1, help="number of nodes to wait for (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a trial (default: %(default)s)")
    parser.add_argument("--share", type=int, default=0, help="trials that share a GPU; 0: no GPU (default)")
    parser.add_argument("--home", required=True, help="the user's home")
    parser.add_argument("--parent", type=int, help="process id of the launcher; the driver ends with it")
    # Every process of a pool is told where to report; what a driver has running says its folders.
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the raw archives")
    parser.add_argument("--cache-root", type=Path, required=True, help="folder of the decoded arrays")
    arguments = parse(parser, argv)

    def command() -> int:
        stop = stop_event(arguments.parent)
        from harness.ray.connection import connected

        run = RunDirectory(arguments.run)
        run.require()
        roots = Roots(arguments.data_root, arguments.cache_root)
        with connected(arguments.address, arguments.nodes, stop):
            # Ray handles SIGTERM by itself from here on, and would tear the search apart.
            stop_on_signals(stop)
            return Driver(run, roots, arguments.threads, arguments.share, arguments.home, stop).work()

    return run_command(command)


if __name__ == "__main__":
    sys.exit(main())
