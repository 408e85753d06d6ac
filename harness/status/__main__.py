"""How a run stands: ``python -m harness.status RUN``.

The run's own files are asked first, then Slurm's queue, then its accounting; only the first must be there.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import interval, parse, user_path
from harness.core.errors import EXIT_DONE, run_command
from harness.core.output import say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.core.console import Console
    from harness.status.status import RunStatus

WATCH_SECONDS = 5.0
UNWATCHED_SECONDS = 60.0


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.status``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.status",
        description="Show the progress of a run: its studies, failures, running trials, workers, and expected end.",
        epilog="exit codes: 0 shown, 2 the request was wrong, 130 interrupted",
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="run directory of a sweep")
    result.add_argument(
        "--watch", nargs="?", const=WATCH_SECONDS, type=interval, metavar="SECONDS",
        help=f"refresh it at this interval (default: {WATCH_SECONDS:.0f}) until the run is complete",
    )  # fmt: skip
    form = result.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the same facts as JSON; with --watch one object a line")
    form.add_argument(
        "--html", type=user_path, metavar="FILE",
        help="write them as a page that reloads itself; with --watch it is kept up to date",
    )  # fmt: skip
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: status(arguments))


def status(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.run.directory import RunDirectory
    from harness.run.links import refuse_links
    from harness.status.status import StatusReader

    run = RunDirectory(arguments.run)
    refuse_links(run)
    reader = StatusReader(run)
    if arguments.json:
        _repeat(reader.read, lambda found: _print_json(found, one_line=arguments.watch is not None), arguments.watch)
        return EXIT_DONE

    if arguments.html is not None:
        _repeat(reader.read, lambda found: _write_page(found, arguments.html, arguments.watch), arguments.watch)
        say(str(arguments.html))
        return EXIT_DONE

    from harness.core.console import Console

    # Where nobody looks at it in a terminal, lines are as long as they have to be.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    if arguments.watch is None or not console.is_terminal:
        _repeat(reader.read, lambda found: _print_page(found, console), arguments.watch)
        return EXIT_DONE

    from rich.live import Live

    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        _repeat(reader.read, lambda found: live.update(_page(found, summary_first=True), refresh=True), arguments.watch)
    return EXIT_DONE


def _repeat(read: Callable[[], RunStatus], show: Callable[[RunStatus], None], every: float | None) -> None:
    """Show once, or again and again until the run is complete."""
    while True:
        found = read()
        show(found)
        if every is None or found.overview.complete or found.overview.exhausted:
            return
        time.sleep(every)


def _print_json(found: RunStatus, one_line: bool) -> None:
    print(json.dumps(found.to_json(), indent=None if one_line else 2), flush=True)


def _write_page(found: RunStatus, path: Path, watch: float | None) -> None:
    from harness.core.errors import RequestError
    from harness.core.files import write_atomic
    from harness.status.html import page

    # Without --watch somebody else may write it again.
    reload = max(1, math.ceil(UNWATCHED_SECONDS if watch is None else watch))
    try:
        write_atomic(path, page(found, reload).encode())
    except OSError as error:
        raise RequestError(f"--html {path}: cannot be written: {error.strerror}") from error


def _print_page(found: RunStatus, console: Console) -> None:
    console.print(_page(found, summary_first=False))


def _page(found: RunStatus, summary_first: bool) -> RenderableType:
    """Everything; with the summary first where a terminal may be too short for the rest."""
    from rich.console import Group

    from harness.status.terminal import details, summary

    if summary_first:
        return Group(*summary(found, cut=True), "", *details(found))
    return Group(*details(found), "", *summary(found))


if __name__ == "__main__":
    sys.exit(main())
