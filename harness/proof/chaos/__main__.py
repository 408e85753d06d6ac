"""Disturb a sweep again and again, and show that it ends as if nothing had happened: ``python -m harness.chaos SWEEP``.

The sweep runs once undisturbed and then, as often as it takes, under disturbances at random moments: killed workers,
a killed sweep, single file operations that fail, processes that sleep beyond their leases, clocks that are set, forks
and threads that fail, a request that must be refused. At the end every result, curve and prediction must be
bit-identical, and no trial may be lost or finished twice. It works for a user's own plugins too, and finds state that
they forgot to keep.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command, suggestion
from harness.core.output import say
from harness.proof.chaos.disturbed_run import DisturbedRun, HitTally
from harness.proof.chaos.fault_layer import FaultLayer, obstacle
from harness.proof.chaos.kinds import KINDS, Scene
from harness.proof.chaos.scene import RunWatch, Sweep
from harness.proof.chaos.sweep_command import run_undisturbed, sweep_command
from harness.proof.comparison import repeated_work, run_differences
from harness.run.directory import RunDirectory

MOST_RUNS_WITHOUT_A_HIT = 2
LINE_SECONDS = 30.0


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.chaos``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.chaos",
        description="Disturb a sweep at random moments and compare the outcome with an undisturbed run, bit for bit.",
        epilog=f"kinds: {', '.join(KINDS)}. Only disturbances that hit a trial in training are counted.",
    )
    result.add_argument(
        "file", type=user_path, metavar="SWEEP", help="sweep file; choose a small one, it runs several times"
    )
    result.add_argument(
        "--disturbances", type=int, default=50, metavar="N", help="number that must hit a trial (default: %(default)s)"
    )
    result.add_argument(
        "--kinds", type=lambda text: [word for word in text.split(",") if word], metavar="KIND,…",
        help="only these kinds (default: all that this machine allows)",
    )  # fmt: skip
    result.add_argument("--kills", type=int, metavar="N", help="the same as --disturbances N --kinds kill,kill-all")
    result.add_argument("--seed", type=int, default=0, help="seed of the disturbances (default: %(default)s)")
    result.add_argument(
        "--pause", type=float, default=0.5, help="mean seconds between two disturbances (default: %(default)s)"
    )
    result.add_argument(
        "--work-dir", type=user_path, metavar="DIR", help="keep the runs here (default: a temporary folder)"
    )
    result.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    result.add_argument("--data-root", type=user_path, metavar="DIR", help="folder of the raw archives")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit code 0 when enough was disturbed and the runs are identical, 1 otherwise."""
    arguments = parse(parser(), argv)
    # However this ends, no process of a disturbed sweep is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run_command(lambda: _chaos(arguments))


def _chaos(arguments: argparse.Namespace) -> int:
    from harness.core.console import Console

    if arguments.kills is not None:
        if arguments.kinds is not None:
            raise RequestError("--kills: names its kinds itself; use --disturbances with --kinds")
        arguments.disturbances, arguments.kinds = arguments.kills, ["kill", "kill-all"]
    if arguments.disturbances < 1 or arguments.pause <= 0:
        raise RequestError("--disturbances must be at least 1 and --pause above 0")
    console = Console(stderr=True)
    kinds = _kinds(arguments.kinds, lambda text: console.print(text, highlight=False, soft_wrap=True))
    extra = [word for assignment in arguments.assignments for word in ("--set", assignment)]
    if arguments.data_root is not None:
        extra += ["--data-root", str(arguments.data_root.absolute())]
    with tempfile.TemporaryDirectory(prefix="gpaf-chaos-") as scratch:
        folder = (arguments.work_dir or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RequestError(f"--work-dir {folder}: not empty; chaos compares fresh runs")
        with console.status("undisturbed run"):
            reference = run_undisturbed(arguments.file, folder / "undisturbed", extra)
        layer = None
        if any(KINDS[kind].needs_layer for kind in kinds):
            (folder / "faults").mkdir()
            layer = FaultLayer(folder / "faults")
        tally, problems = HitTally(arguments.disturbances), list[str]()
        rng = random.Random(arguments.seed)
        runs, fruitless = list[RunDirectory](), 0
        try:
            while not tally.enough and fruitless < (MOST_RUNS_WITHOUT_A_HIT if tally.hits else 1):
                before = tally.hits.total()
                run = RunDirectory(folder / f"disturbed{len(runs) + 1}")
                runs.append(run)
                scene = _scene(run, arguments.file, extra, rng, layer, reference)
                with console.status(f"disturbed run {len(runs)}") as status:
                    tell = _speaker(console, status, f"disturbed run {len(runs)}")
                    DisturbedRun(scene, tally, kinds, arguments.pause, tell).carry_out()
                problems += [f"{run.path.name}: {problem}" for problem in scene.problems]
                found = repeated_work(run) + run_differences(reference, run)
                problems += [f"{run.path.name}: {problem}" for problem in found]
                fruitless = fruitless + 1 if tally.hits.total() == before else 0
        finally:
            say(_summary(tally, runs))
        return _verdict(tally, problems, layer)


def _scene(
    run: RunDirectory,
    file: Path,
    extra: Sequence[str],
    rng: random.Random,
    layer: FaultLayer | None,
    reference: RunDirectory,
) -> Scene:
    from harness.data.cache import default_cache_root

    epochs = int(reference.spec()["train"]["epochs"])
    stale = ["--set", f"train.epochs={epochs + 1}", "--stale", "rerun"]
    sweep = Sweep(sweep_command(file, run.path, extra), {} if layer is None else layer.environment())
    command = sweep_command(file, run.path, [*extra, *stale])
    return Scene(run, sweep, RunWatch(run, epochs), rng, layer, default_cache_root().absolute(), command)


def _kinds(wanted: Sequence[str] | None, note: Callable[[str], None]) -> list[str]:
    """The kinds of disturbances to choose from.

    Raises:
        RequestError: an unknown one, or none that this machine allows.
    """
    for name in wanted or ():
        if name not in KINDS:
            raise RequestError(f"--kinds: no kind {name!r}{suggestion(name, KINDS)}")
    kinds, missing = list(KINDS if wanted is None else wanted), obstacle()
    if missing is not None:
        left_out = [kind for kind in kinds if KINDS[kind].needs_layer]
        kinds = [kind for kind in kinds if not KINDS[kind].needs_layer]
        if left_out:
            note(f"note: {missing}, so these kinds are left out: {', '.join(left_out)}")
    if not kinds:
        raise RequestError(f"--kinds: none is left{f', because {missing}' if missing else ''}")
    return kinds


def _speaker(console: Any, status: Any, what: str) -> Callable[[str], None]:
    """Shows how far it is: in place on a terminal, else a line now and then."""
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        status.update(f"{what}: {text}")
        if not console.is_terminal and time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            console.print(f"{what}: {text}", highlight=False, soft_wrap=True, markup=False)

    return say


def _summary(tally: HitTally, runs: Sequence[RunDirectory]) -> str:
    """What was done, a line for each kind."""
    lines = [f"{'disturbance':<14}{'hit a trial in training':>24}{'hit otherwise':>15}"]
    for kind in KINDS:
        if tally.hits[kind] or tally.others[kind]:
            lines.append(f"{kind:<14}{tally.hits[kind]:>24}{tally.others[kind]:>15}")
    trials = [trial for run in runs for trial in run.trials()]
    lines.append(
        f"{tally.hits.total()} disturbances of {len(tally.hits)} kinds hit a trial in training; "
        f"{tally.others.total()} others hit something else"
    )
    lines.append(
        f"{len(runs)} disturbed runs, {len(trials)} trials, {sum(len(trial.attempts()) for trial in trials)} attempts; "
        f"the sweep command was given {tally.starts} times, and ended {tally.refusals} times with an error line"
    )
    return "\n".join(lines)


def _verdict(tally: HitTally, problems: Sequence[str], layer: FaultLayer | None) -> int:
    """Say what differs; returns the exit code."""
    for problem in problems:
        say(problem)
    if layer is not None and problems and layer.events.exists():
        say(f"every call that failed, with its stack: {layer.events} (kept with --work-dir)")
    lost = sum(problem.endswith("never finished") for problem in problems)
    twice = sum(": finished " in problem and problem.endswith("times") for problem in problems)
    say(f"{lost} trials lost, {twice} finished twice, {len(problems) - lost - twice} differences and other faults")
    if not tally.hits.total():
        say("no disturbance hit a trial in training: this proves nothing; choose a sweep with longer trials")
    elif not tally.enough:
        say(f"fewer than the {tally.wanted} disturbances that were asked for: choose a sweep with longer trials")
    elif not problems:
        say("no difference to the undisturbed run")
    return EXIT_SOME_FAILED if problems or not tally.enough else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
