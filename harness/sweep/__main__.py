"""Run a sweep: plan it, launch it, go on with it. ``python -m harness.sweep FILE``.

The same command starts a sweep, continues one that was interrupted or killed, and does nothing when all is done.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import add_sweep_arguments, parse
from harness.core.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    RequestError,
    run_command,
)
from harness.core.output import say

if TYPE_CHECKING:
    from harness.core.console import Console
    from harness.launch.inline import InlineWorker
    from harness.launch.loading import Loading
    from harness.launch.pool import WorkerPool
    from harness.plugins import Catalogue
    from harness.ray.launcher import RayWorkers
    from harness.run.directory import RunDirectory
    from harness.spec.sections import SweepSpec
    from harness.studies.study import Roots, Study
    from harness.work.scheduler import Scheduler

DESCRIPTION = "Run a sweep: methods × datasets, tuned alike, confirmed on fresh seeds, reported."
EPILOG = """
The same command starts a sweep, goes on with one that was stopped, and does nothing when all is done.
exit codes: 0 done, 1 some trials failed for good, 2 the request was wrong, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.sweep``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.sweep",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep_arguments(result)
    result.add_argument("--dry-run", action="store_true", help="check the file, say what would run, and stop")
    result.add_argument(
        "--probe", action="store_true",
        help="with --dry-run: measure how long trials take here; python -m harness.plan has more options",
    )  # fmt: skip
    result.add_argument("--launcher", metavar="KIND", help="launch.kind of the file, overridden")
    result.add_argument("--workers", metavar="N", help="launch.workers of the file, overridden")
    result.add_argument(
        "--stale", choices=("stop", "rerun"), default="stop",
        help="what to do with studies whose code, data or settings changed since they ran: stop and say why, "
        "or set them aside and run them again (default: %(default)s)",
    )  # fmt: skip
    result.add_argument("--wait", action="store_true", help="on Slurm: show progress until all is done")
    result.add_argument("--cancel", action="store_true", help="on Slurm: end the sweep's jobs, with checkpoints")
    result.add_argument(
        "--retry-failed", action="store_true",
        help="set aside and rerun studies in which every trial failed",
    )  # fmt: skip
    result.add_argument("--repair", action="store_true", help="set damaged files aside and compute them again")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: sweep(arguments))


def sweep(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.core.console import Console
    from harness.plugins import discover
    from harness.studies.loading import check_against, check_backbones, load_sweep

    console = Console(stderr=True)
    assignments = list(arguments.assignments)
    if arguments.launcher is not None:
        assignments.append(f"launch.kind={arguments.launcher}")
    if arguments.workers is not None:
        assignments.append(f"launch.workers={arguments.workers}")
    loaded = load_sweep(arguments.file, assignments)
    if arguments.cancel:
        from harness.launch.slurm.launcher import cancel
        from harness.run.directory import RunDirectory

        return cancel(RunDirectory(arguments.run_dir or Path("runs") / loaded.spec.name), console)
    if arguments.probe and not arguments.dry_run:
        raise RequestError("--probe: belongs to --dry-run; a sweep needs no probe")
    with ExitStack() as stack:
        loading = None if arguments.dry_run else _loading(loaded.spec, stack)
        with console.status("loading plugins"):
            catalogue = discover([Path(folder) for folder in loaded.spec.plugins])
        check_against(loaded.spec, catalogue, loaded.place)
        check_backbones(loaded.spec, loaded.place)
        if not arguments.dry_run:
            with _nothing_left_of_a_refusal(arguments, loaded.spec):
                return _run(arguments, loaded.spec, catalogue, console, loading)
        if loaded.spec.launch.kind == "slurm":
            from harness.launch.slurm.launcher import profile_of

            profile_of(loaded.spec)
        return _preview(arguments, loaded.spec, catalogue, console)


def _loading(spec: SweepSpec, stack: ExitStack) -> Loading | None:
    """What loads the packages of local workers from now on, until the stack is closed or workers take it over."""
    from harness.launch.this_machine import begin_loading
    from harness.search import engine_class

    if spec.launch.kind != "local" or engine_class(spec.search).driven:
        return None
    loading = begin_loading(spec.launch)
    if loading is not None:
        stack.callback(loading.close)
    return loading


@contextmanager
def _nothing_left_of_a_refusal(arguments: argparse.Namespace, spec: SweepSpec) -> Iterator[None]:
    """A run that is refused before it is planned was never begun."""
    from harness.core.refusals import held_by_others, leaving_nothing
    from harness.run.directory import RunDirectory

    run = RunDirectory(arguments.run_dir or Path("runs") / spec.name)
    with leaving_nothing(run.path, keep=lambda: run.exists() or held_by_others(run.path / "lock")):
        yield


def _preview(arguments: argparse.Namespace, spec: SweepSpec, catalogue: Catalogue, console: Console) -> int:
    """Say what would run; what it costs and can show too, where no images have to be decoded for that."""
    from harness.core.console import Console
    from harness.data.cache import default_cache_root, default_data_root
    from harness.plan.__main__ import defaults_of_means, planned
    from harness.plan.page import page
    from harness.run.directory import RunDirectory
    from harness.studies.preview import print_preview
    from harness.studies.study import Planner, Roots

    roots = Roots((arguments.data_root or default_data_root()).absolute(), default_cache_root().absolute())
    run = RunDirectory(arguments.run_dir or Path("runs") / spec.name)
    missing = [] if arguments.probe else Planner(spec, catalogue, run, roots).undecoded()
    out = Console()
    if missing:
        more = f"not decoded yet: {', '.join(missing)}; `python -m harness.plan {arguments.file}` does that, and says "
        out.print(f"{more}what the sweep costs and what it can show", soft_wrap=True, highlight=False, markup=False)
    else:
        means = argparse.Namespace(**vars(arguments), **defaults_of_means())
        out.print(page(planned(means, spec, catalogue, console, probing=arguments.probe)), highlight=False)
        out.print()
    print_preview(spec, catalogue)
    return EXIT_DONE


def _run(
    arguments: argparse.Namespace, spec: SweepSpec, catalogue: object, console: Console, loading: Loading | None
) -> int:
    from harness.plugins import Catalogue
    from harness.run.directory import RunDirectory
    from harness.run.index import ResultIndex
    from harness.run.links import refuse_links
    from harness.studies.study import Roots
    from harness.sweep.prepare import plan_run
    from harness.work.reporting import refresh_report
    from harness.work.scheduler import Scheduler

    assert isinstance(catalogue, Catalogue)
    from harness.data.cache import default_cache_root, default_data_root

    roots = Roots((arguments.data_root or default_data_root()).absolute(), default_cache_root().absolute())
    run = RunDirectory(arguments.run_dir or Path("runs") / spec.name)
    begun = run.begun()
    run.create()
    refuse_links(run)
    submit = _slurm(arguments, run, spec, roots, console) if spec.launch.kind == "slurm" else None
    # What has begun is left alone until it is clear that this request goes on with it.
    workers = _workers(run, spec, roots, loading) if submit is None and not begun else None
    index = ResultIndex(run)
    try:
        studies = plan_run(
            run,
            spec,
            catalogue,
            roots,
            console,
            rerun_stale=arguments.stale == "rerun",
            repair=arguments.repair,
            retry_failed=arguments.retry_failed,
            index=index,
        )
    except BaseException:
        if workers is not None:
            workers.stop(console.print)
        raise
    _record_environment(run)
    scheduler = Scheduler.of(run, spec, studies, index=index)
    console.print(f"run directory: {run.path}", soft_wrap=True, highlight=False, markup=False)
    if not scheduler.complete():
        if submit is not None:
            code = submit(scheduler)
            if code is not None:
                return code
        elif _launch(workers or _workers(run, spec, roots, loading), scheduler, console):
            console.print("interrupted; the same command resumes from here")
            return EXIT_INTERRUPTED
    page = refresh_report(run)
    say(str(page))
    return _verdict(studies, scheduler, console)


def _record_environment(run: RunDirectory) -> None:
    """That of the first launch; looking for changes, and for secrets in them, takes its time."""
    from harness.core.environment import capture, uncommitted_changes
    from harness.core.files import TornFileError
    from harness.train.device import accelerators

    try:
        run.environment()
    except (FileNotFoundError, TornFileError):
        run.write_environment(capture(accelerators()), uncommitted_changes())


def _slurm(
    arguments: argparse.Namespace, run: RunDirectory, spec: SweepSpec, roots: Roots, console: Console
) -> Callable[[Scheduler], int | None]:
    """Check the cluster before anything is prepared; what submits the jobs then, with the exit code if it is known."""
    from harness.launch.slurm.launcher import check, follow, launch

    profile = check(run, spec, roots, console)

    def submit(scheduler: Scheduler) -> int | None:
        launch(run, spec, profile, roots, scheduler, same_command(arguments), console)
        if not arguments.wait:
            return EXIT_DONE
        try:
            if follow(run, scheduler, console):
                return None
        except KeyboardInterrupt:
            console.print("no longer watching; the jobs go on (--cancel ends them)")
            return EXIT_INTERRUPTED
        console.print("no job is left, some trials are; the same command submits more, harness.status tells what ended")
        return EXIT_SOME_FAILED

    return submit


def same_command(arguments: argparse.Namespace) -> list[str]:
    """The command line that goes on with a sweep: what it was started with, less what is meant for once."""
    given = [("--set", assignment) for assignment in arguments.assignments]
    given += [
        (option, str(value))
        for option, value in (
            ("--run-dir", arguments.run_dir),
            ("--launcher", arguments.launcher),
            ("--workers", arguments.workers),
            ("--data-root", arguments.data_root),
        )
        if value is not None
    ]
    return ["python", "-m", "harness.sweep", str(arguments.file), *(word for pair in given for word in pair)]


def _workers(
    run: RunDirectory, spec: SweepSpec, roots: Roots, loading: Loading | None
) -> InlineWorker | WorkerPool | RayWorkers:
    """The workers of this launch, which begin to load their modules."""
    from harness.launch.inline import InlineWorker
    from harness.launch.this_machine import local_workers
    from harness.run.code import environment, take_snapshot
    from harness.search import engine_class

    if spec.launch.kind == "inline":
        return InlineWorker(run, spec.launch, roots)
    # All that this process starts imports the copy.
    os.environ.update(environment(take_snapshot(run, spec.plugins)))
    if engine_class(spec.search).driven:
        from harness.ray.launcher import RayWorkers, nodes_of_allocation

        return RayWorkers(run, spec.launch, roots, *nodes_of_allocation())
    workers = local_workers(run, spec.launch, roots, loading=loading)
    workers.prepare()
    return workers


def _launch(workers: InlineWorker | WorkerPool | RayWorkers, scheduler: Scheduler, console: Console) -> bool:
    """Run workers until all is done; True when the user interrupted."""
    from harness.launch.display import Display

    # A scheduler or a closing terminal ends the sweep with SIGTERM: stop as on Ctrl-C. A shell that starts it in the
    # background makes it ignore SIGINT, which would leave no way to stop it in order.
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
        return True
    finally:
        workers.stop(console.print)
    return False


def _verdict(studies: Sequence[Study], scheduler: Scheduler, console: Console) -> int:
    from harness.studies.halt import REMEDY

    failed = 0
    halted = scheduler.halted()
    if halted is not None:
        console.print(f"stopped: {halted}; {REMEDY}", soft_wrap=True, highlight=False, markup=False)
    exhausted = scheduler.exhausted()
    if exhausted is not None:
        advice = "raise budget.device_hours and run the same command again to resume"
        console.print(f"{exhausted}; {advice}", soft_wrap=True, highlight=False, markup=False)
        failed += 1
    for message in scheduler.failed_sources():
        console.print(f"failed: {message}", soft_wrap=True, highlight=False, markup=False)
        failed += 1
    for state in scheduler.states:
        for result in state.finished():
            if result["status"] == "failed":
                failed += 1
                where = f"{state.study.name} {result['stage']} slot {result['slot']} seed {result['seed']}"
                console.print(
                    f"failed: {where}: {result['cause']}: {result['message']}",
                    soft_wrap=True, highlight=False, markup=False,
                )  # fmt: skip
    return EXIT_SOME_FAILED if failed else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
