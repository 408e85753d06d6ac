"""Kill a sweep again and again, and show that it ends as if nothing had happened: ``python -m harness.chaos SWEEP``.

The sweep runs once undisturbed and once under SIGKILL at random moments: of single workers, and of the sweep with all
its workers, which is then started again. At the end every result, curve and prediction must be bit-identical, and no
trial may be lost or finished twice. It works for a user's own plugins too, and finds state that they forgot to keep.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.arguments import user_path
from harness.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.launch.starting import is_worker
from harness.run_comparison import repeated_work, run_differences
from harness.store import RunDirectory

UNLIMITED_RETRIES = 1_000
WORKER_START_SECONDS = 60.0


@dataclass
class Disturbed:
    """What was done to a run."""

    run: RunDirectory
    kills: int = 0
    restarts: int = 0


def sweep_command(file: Path, run_dir: Path, extra: Sequence[str]) -> list[str]:
    """The command line of a sweep that may lose workers without limit."""
    retries = f"launch.retries={UNLIMITED_RETRIES}"
    return [
        sys.executable,
        "-m",
        "harness.sweep",
        str(file),
        "--run-dir",
        str(run_dir),
        "--set",
        retries,
        *extra,
    ]


def run_undisturbed(file: Path, run_dir: Path, extra: Sequence[str]) -> RunDirectory:
    """Run the sweep to its end.

    Raises:
        RequestError: it ended with an error.
    """
    done = subprocess.run(sweep_command(file, run_dir, extra), capture_output=True, text=True)
    if done.returncode not in (EXIT_DONE, EXIT_SOME_FAILED):
        raise RequestError(f"the undisturbed run ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    return RunDirectory(run_dir)


def run_disturbed(
    file: Path, run_dir: Path, extra: Sequence[str], kills: int, rng: random.Random, pause: float
) -> Disturbed:
    """Run the sweep to its end under at most ``kills`` SIGKILLs.

    Args:
        pause: mean time from when a worker holds a trial to the next kill, seconds; drawn from an exponential
            distribution so that no moment is spared.
    """
    disturbed = Disturbed(RunDirectory(run_dir))
    while True:
        command = sweep_command(file, run_dir, extra)
        quiet = subprocess.DEVNULL
        sweep = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE)
        while sweep.poll() is None and disturbed.kills < kills:
            workers = _workers(sweep)
            # Mostly in the middle of a trial, now and then while workers still start.
            if not workers or (rng.random() < 0.98 and not _holds_trial(disturbed.run, workers)):
                time.sleep(0.1)
                continue
            time.sleep(rng.expovariate(1 / pause))
            disturbed.kills += _kill(sweep, workers, rng)
        _, errors = sweep.communicate()
        if sweep.returncode in (EXIT_DONE, EXIT_SOME_FAILED):
            return disturbed
        if sweep.returncode >= 0:
            raise RequestError(
                f"the disturbed run ended with code {sweep.returncode}: {errors.decode().strip()[-500:]}"
            )
        disturbed.restarts += 1


def _workers(sweep: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return [child for child in psutil.Process(sweep.pid).children() if is_worker(child)]
    except psutil.NoSuchProcess:
        return []


def _holds_trial(run: RunDirectory, workers: list[psutil.Process]) -> bool:
    pids = {worker.pid for worker in workers}
    views = (trial.lease() for trial in run.trials() if not trial.finished)
    return any(view is not None and not view.dead and view.content.get("pid") in pids for view in views)


def _kill(sweep: subprocess.Popen[bytes], workers: list[psutil.Process], rng: random.Random) -> int:
    """SIGKILL one worker, or the sweep with all of them; returns the number of workers that were hit."""
    everything = rng.random() < 0.4
    victims = workers if everything else [rng.choice(workers)]
    hit = 0
    if everything and sweep.poll() is None:
        sweep.kill()
    for worker in victims:
        try:
            worker.kill()
            worker.wait(WORKER_START_SECONDS)
            hit += 1
        except psutil.NoSuchProcess:
            continue
    return hit


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit code 0 when the runs are identical, 1 when they differ."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.chaos",
        description="Kill a sweep's workers at random and compare the outcome with an undisturbed run, bit for bit.",
    )
    parser.add_argument("file", type=user_path, metavar="SWEEP", help="sweep file; choose a small one, it runs twice")
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="workers to kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the kills (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=3.0, help="mean seconds into a trial before a kill (default: %(default)s)"
    )
    parser.add_argument(
        "--work-dir", type=user_path, metavar="DIR", help="keep the runs here (default: a temporary folder)"
    )
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--data-root", type=user_path, metavar="DIR", help="folder of the raw archives")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _chaos(arguments))


def _chaos(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    if arguments.kills < 1 or arguments.pause <= 0:
        raise RequestError("--kills must be at least 1 and --pause above 0")
    console = Console(stderr=True)
    extra = [word for assignment in arguments.assignments for word in ("--set", assignment)]
    if arguments.data_root is not None:
        extra += ["--data-root", str(arguments.data_root)]
    with tempfile.TemporaryDirectory(prefix="gpaf-chaos-") as scratch:
        folder = arguments.work_dir or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RequestError(f"--work-dir {folder}: not empty; chaos compares fresh runs")
        with console.status("undisturbed run"):
            reference = run_undisturbed(arguments.file, folder / "undisturbed", extra)
        rng, kills, problems = random.Random(arguments.seed), 0, []
        for attempt in range(1, arguments.kills + 1):
            with console.status(f"disturbed run {attempt}, {kills} workers killed so far"):
                disturbed = run_disturbed(
                    arguments.file,
                    folder / f"disturbed{attempt}",
                    extra,
                    arguments.kills - kills,
                    rng,
                    arguments.pause,
                )
            kills += disturbed.kills
            problems += repeated_work(disturbed.run) + run_differences(reference, disturbed.run)
            console.print(f"run {attempt}: {disturbed.kills} workers killed, {disturbed.restarts} sweeps started again")
            if kills >= arguments.kills:
                break
    for problem in problems:
        print(problem)
    trials = "no difference" if not problems else f"{len(problems)} differences"
    print(f"{kills} workers killed: {trials} to the undisturbed run")
    return EXIT_SOME_FAILED if problems or kills < arguments.kills else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
