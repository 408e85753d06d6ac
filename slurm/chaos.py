"""Disturb a sweep on a little Slurm cluster in every way a site can: ``python -m slurm.chaos SWEEP``.

The sweep runs once on this machine alone, undisturbed, and once on a cluster whose jobs are preempted, suspended,
killed, run out of time and are requeued, whose nodes are drained and lost and whose controller is restarted. Then every
result, curve and prediction must be bit-identical, no trial lost and none finished twice, the report written by the
last job. A disturbance counts only where it struck a trial in training.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import complain, say
from harness.proof.chaos import UNLIMITED_RETRIES, run_undisturbed
from harness.proof.comparison import repeated_work, run_differences
from harness.run.directory import RunDirectory
from slurm.cluster import LittleCluster, Settings, obstacle
from slurm.disturbances import KINDS, MINUTES, Chaos
from slurm.training_watch import TrainingWatch

PROFILE = f"partition: low\ncpus: 1\ntime: {MINUTES}\ngrace: 10\ndevice: cpu\noptions: {{exclusive: true}}\n"
"""Of the jobs: on a partition that is preempted by another one, each on a node of its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit code 0 when the runs are identical, 1 when they differ or were not disturbed enough."""
    parser = argparse.ArgumentParser(
        prog="python -m slurm.chaos",
        description="Disturb a sweep on a little Slurm cluster and compare the outcome with a local run, bit for bit.",
    )
    parser.add_argument("file", type=user_path, metavar="SWEEP", help="sweep file; choose a small one, it runs twice")
    parser.add_argument(
        "--disturbances",
        type=int,
        default=100,
        metavar="N",
        help="number that must hit a trial in training (default: %(default)s)",
    )
    parser.add_argument("--nodes", type=int, default=4, help="nodes of the cluster (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="jobs of the sweep (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=6.0, help="mean seconds between them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the disturbances (default: %(default)s)")
    parser.add_argument(
        "--without", action="append", default=[], choices=sorted(KINDS), metavar="KIND",
        help=f"leave out one kind; may be repeated ({', '.join(KINDS)})",
    )  # fmt: skip
    parser.add_argument(
        "--work-dir", type=user_path, metavar="DIR", help="keep the runs here (default: a temporary folder)"
    )
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--data-root", type=user_path, metavar="DIR", help="folder of the raw archives")
    arguments = parse(parser, argv)
    return run_command(lambda: _chaos(arguments))


def _chaos(arguments: argparse.Namespace) -> int:
    missing = obstacle()
    if missing is not None:
        raise RequestError(f"no little cluster can run here: {missing}")
    if arguments.disturbances < 1 or arguments.pause <= 0:
        raise RequestError("--disturbances must be at least 1 and --pause above 0")
    if len(set(arguments.without)) == len(KINDS):
        raise RequestError("--without: leaves no kind of disturbance")
    extra = [word for assignment in arguments.assignments for word in ("--set", assignment)]
    if arguments.data_root is not None:
        extra += ["--data-root", str(arguments.data_root.absolute())]
    # A job and the local run must use as many threads: sums on a CPU depend on it in the last bit.
    extra += ["--set", "launch.threads=1"]
    with tempfile.TemporaryDirectory(prefix="gpaf-chaos-") as scratch:
        folder = (arguments.work_dir or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RequestError(f"--work-dir {folder}: not empty; chaos compares fresh runs")
        _say("undisturbed run")
        reference = run_undisturbed(arguments.file, folder / "undisturbed", [*extra, "--launcher", "local"])
        profile = folder / "profile.yaml"
        profile.write_text(PROFILE)
        settings = Settings(nodes=arguments.nodes, slurmd_timeout=5)
        with LittleCluster(settings=settings) as cluster:
            chaos = Chaos(
                cluster,
                RunDirectory(folder / "disturbed"),
                sweep_on_slurm(arguments.file, folder / "disturbed", profile, arguments.workers, extra),
                {name: value for name, value in os.environ.items() if name.startswith(("GPAF_", "PYTHON"))},
                random.Random(arguments.seed),
                [kind for kind in KINDS if kind not in arguments.without],
                arguments.workers,
                TrainingWatch(RunDirectory(folder / "disturbed"), int(reference.spec()["train"]["epochs"])),
            )
            chaos.launch()
            chaos.disturb(arguments.disturbances, arguments.pause, sum(1 for _ in reference.trials()), _say)
        return _compare(reference, chaos, arguments.disturbances)


def _compare(reference: RunDirectory, chaos: Chaos, wanted: int) -> int:
    """Say what was done and what differs; returns the exit code."""
    problems = repeated_work(chaos.run) + run_differences(reference, chaos.run)
    for problem in problems:
        say(problem)
    attempts = sum(len(trial.attempts()) for trial in chaos.run.trials())
    trials = sum(1 for _ in chaos.run.trials())
    hits = sum(chaos.hits.values())
    say(f"{hits} disturbances hit a trial in training ({_counts(chaos.hits)})")
    say(f"{sum(chaos.misses.values())} others hit none ({_counts(chaos.misses)})")
    say(f"{chaos.taken_over} of the suspended trials were taken over before their job was resumed")
    say(f"{trials} trials, {attempts} attempts; the sweep command was given {chaos.launches} times")
    say(f"{'no difference' if not problems else f'{len(problems)} differences'} to the undisturbed run")
    if hits == 0:
        say("no disturbance hit a trial in training, so this run proves nothing about them")
    elif hits < wanted:
        say(f"the sweep ended before {wanted} disturbances hit; choose one with longer trials, or a shorter --pause")
    return EXIT_DONE if hits >= max(1, wanted) and not problems else EXIT_SOME_FAILED


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"


def sweep_on_slurm(file: Path, run_dir: Path, profile: Path, workers: int, extra: Sequence[str]) -> list[str]:
    """The command line of a sweep on Slurm that may lose workers without limit."""
    settings = [f"launch.profile={profile}", f"launch.workers={workers}", f"launch.retries={UNLIMITED_RETRIES}"]
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "harness.sweep", str(file), "--run-dir", str(run_dir), "--launcher", "slurm"]
    return [*command, *words, *extra]


def _say(text: str) -> None:
    complain(f"{time.strftime('%T')} {text}")


if __name__ == "__main__":
    sys.exit(main())
