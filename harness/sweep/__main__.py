"""Run a sweep: plan it, launch it, go on with it. ``python -m harness.sweep FILE``.

The same command starts a sweep, continues one that was interrupted or killed, and does nothing when all is done.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import add_sweep_arguments, parse
from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED, RequestError, run_command
from harness.core.output import say

if TYPE_CHECKING:
    from harness.core.console import Console
    from harness.launcher import Launcher
    from harness.plugins import Catalogue
    from harness.run.directory import RunDirectory
    from harness.spec.sections import SweepSpec
    from harness.studies.loading import LoadedSweep
    from harness.studies.study import Study
    from harness.work.scheduler import Scheduler

DESCRIPTION = "Run a sweep: methods × datasets, tuned alike, confirmed on fresh seeds, reported."
EPILOG = """
The same command starts a sweep, resumes one that was stopped, and does nothing when everything is done.
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
    result.add_argument("--launcher", metavar="KIND", help="override launch.kind of the file")
    result.add_argument("--workers", metavar="N", help="override launch.workers of the file")
    result.add_argument(
        "--stale", choices=("stop", "rerun"), default="stop",
        help="what to do with studies whose code, data or settings changed since they ran: stop and say why, "
        "or set them aside and run them again (default: %(default)s)",
    )  # fmt: skip
    result.add_argument("--wait", action="store_true", help="on a cluster: show progress until all is done")
    result.add_argument("--cancel", action="store_true", help="on a cluster: end the sweep's jobs, with checkpoints")
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
    from harness.studies.loading import catalogue_for, launcher_of, load_sweep
    from harness.studies.pairs import check_pairs

    console = Console(stderr=True)
    assignments = list(arguments.assignments)
    if arguments.launcher is not None:
        assignments.append(f"launch.kind={arguments.launcher}")
    if arguments.workers is not None:
        assignments.append(f"launch.workers={arguments.workers}")
    loaded = load_sweep(arguments.file, assignments)
    if arguments.cancel:
        return _cancel(arguments, loaded.spec, console)
    if arguments.probe and not arguments.dry_run:
        raise RequestError("--probe: belongs to --dry-run; a sweep needs no probe")
    with ExitStack() as stack:
        launcher = None if arguments.dry_run else _built_in_launcher(loaded, stack)
        catalogue = catalogue_for(loaded, console)
        check_pairs(loaded.spec, catalogue, loaded.place, console.whole_line)
        launcher = launcher or launcher_of(loaded.spec, catalogue, loaded.place)
        launcher.check_settings()
        if arguments.dry_run:
            return _preview(arguments, loaded.spec, catalogue, launcher, console)
        # Closed first, so that nothing of ours writes into a run directory that is removed.
        with _nothing_left_of_a_refusal(arguments, loaded.spec), closing(launcher):
            return _run(arguments, loaded.spec, catalogue, launcher, console)


def _built_in_launcher(loaded: LoadedSweep, stack: ExitStack) -> Launcher | None:
    """What launches the sweep, if that is known before plugins are loaded; it begins what takes time, until the end."""
    from harness.launcher import Launcher
    from harness.plugins import packaged
    from harness.search import Engine, is_driven
    from harness.studies.loading import launcher_of

    catalogue, spec = packaged(), loaded.spec
    driven = is_driven(spec.search)
    if spec.launch.kind not in catalogue.all(Launcher) or (driven and spec.search.engine not in catalogue.all(Engine)):
        return None
    launcher = launcher_of(spec, catalogue, loaded.place)
    stack.callback(launcher.close)
    launcher.begin()
    return launcher


def _cancel(arguments: argparse.Namespace, spec: SweepSpec, console: Console) -> int:
    """End the jobs of the run, whichever launcher has submitted them."""
    from harness.launcher import Launcher
    from harness.plugins import discover, packaged
    from harness.run.directory import RunDirectory

    run = RunDirectory(arguments.run_dir or Path("runs") / spec.name)
    known = packaged().all(Launcher)
    if spec.launch.kind not in known:
        known = discover([Path(folder) for folder in spec.plugins]).all(Launcher)
    for plugin in known.values():
        code = plugin.cls.cancel(run, console)
        if code is not None:
            return code
    raise RequestError(f"{run.path}: was never launched on a cluster; a local sweep is stopped by Ctrl-C")


@contextmanager
def _nothing_left_of_a_refusal(arguments: argparse.Namespace, spec: SweepSpec) -> Iterator[None]:
    """A run that is refused before it is planned was never begun."""
    from harness.core.refusals import held_by_others, leaving_nothing
    from harness.run.directory import RunDirectory

    run = RunDirectory(arguments.run_dir or Path("runs") / spec.name)
    with leaving_nothing(run.path, keep=lambda: run.exists() or held_by_others(run.path / "lock")):
        yield


def _preview(
    arguments: argparse.Namespace, spec: SweepSpec, catalogue: Catalogue, launcher: Launcher, console: Console
) -> int:
    """Say what would run; what it costs and can show too, where no images have to be decoded for that."""
    from harness.core.console import Console
    from harness.plan.__main__ import defaults_of_means, planned
    from harness.plan.page import page
    from harness.run.directory import RunDirectory
    from harness.studies.planner import Planner
    from harness.studies.preview import print_preview
    from harness.studies.study import Roots

    roots = Roots.here(arguments.data_root)
    run = RunDirectory(arguments.run_dir or Path("runs") / spec.name)
    missing = [] if arguments.probe else Planner(spec, catalogue, run, roots).undecoded()
    out = Console()
    if missing:
        more = f"not decoded yet: {', '.join(missing)}; `python -m harness.plan {arguments.file}` does that, and says "
        out.print(f"{more}what the sweep costs and what it can show", soft_wrap=True, highlight=False, markup=False)
    else:
        means = argparse.Namespace(**vars(arguments), **defaults_of_means())
        plan = planned(means, spec, catalogue, launcher, console, probing=arguments.probe)
        out.print(page(plan), highlight=False)
        out.print()
    print_preview(spec, catalogue)
    return EXIT_DONE


def _run(
    arguments: argparse.Namespace, spec: SweepSpec, catalogue: Catalogue, launcher: Launcher, console: Console
) -> int:
    from harness.evaluate.missing import lacking, words
    from harness.launcher import Launch
    from harness.run.answer import answer
    from harness.run.directory import RunDirectory
    from harness.run.index import ResultIndex
    from harness.run.links import refuse_links
    from harness.studies.study import Roots
    from harness.sweep.prepare import plan_run
    from harness.work.notices import Notices
    from harness.work.reporting import refresh_report
    from harness.work.scheduler import Scheduler

    _check_notify(spec)
    roots = Roots.here(arguments.data_root)
    run = RunDirectory(arguments.run_dir or Path("runs") / spec.name)
    launch = Launch(run, spec, roots, console, same_command(arguments), arguments.wait)
    begun = run.begun()
    run.create()
    refuse_links(run)
    launcher.check(launch)
    # What has begun is left alone until it is clear that this request goes on with it.
    if not begun:
        launcher.prepare(launch)
    index = ResultIndex(run)
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
    _record_environment(run)
    scheduler = Scheduler.of(run, spec, studies, index=index, plan=run.plan())
    scheduler.record()
    console.print(f"run directory: {run.path}", soft_wrap=True, highlight=False, markup=False)
    if not scheduler.complete():
        code = launcher.carry_out(launch, scheduler)
        if code is not None:
            return code
    for line in words(list(lacking(studies)), run.path):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    page = refresh_report(run)
    for line in answer(run):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    Notices(run, spec.name, spec.launch.notify).ended(scheduler)
    console.print("The report, for any browser:", highlight=False)
    say(str(page))
    return _verdict(studies, scheduler, console)


def _check_notify(spec: SweepSpec) -> None:
    command = spec.launch.notify
    if command and shutil.which(command[0]) is None:
        raise RequestError(f"launch.notify: {command[0]!r} is no command here; give its path, or install it")


def _record_environment(run: RunDirectory) -> None:
    """That of the first launch; looking for changes, and for secrets in them, takes its time."""
    from harness.core.environment import capture, uncommitted_changes
    from harness.core.files import TornFileError
    from harness.train.device import accelerators

    try:
        run.environment()
    except (FileNotFoundError, TornFileError):
        run.write_environment(capture(accelerators()), uncommitted_changes())


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
        for result in filter(None, map(state.results.find, state.progress.trials())):
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
