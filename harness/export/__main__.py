"""Export a run to other tools: ``python -m harness.export RUN --to NAME DEST``, with ``--follow`` while it goes on."""

from __future__ import annotations

import argparse
import fcntl
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import interval, parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.core.extras import install
from harness.core.output import complain, say
from harness.core.refusals import leaving_nothing
from harness.export import targets
from harness.export.contract import Export, ExportedRun

if TYPE_CHECKING:
    from harness.plugins import Catalogue, Plugin
    from harness.run.directory import RunDirectory

FOLLOW_SECONDS = 10.0
EXIT_CODES = "exit codes: 0 done, 2 the request was wrong, 130 interrupted"


def parser(exports: Mapping[str, Plugin[Export]] | None = None, shown: str = "") -> argparse.ArgumentParser:
    """The command line of ``python -m harness.export``.

    Args:
        exports: all that there are, by name; the built-in ones if None.
        shown: the one whose help is shown; without it all are listed.
    """
    if exports is None:
        from harness.plugins import of_folders

        exports = of_folders(()).all(Export)
    if shown in exports:
        epilog = f"{shown}\n\n{inspect.getdoc(exports[shown].cls)}"
    else:
        width = max(map(len, exports)) + 4
        lines = [f"{name:{width}}{plugin.summary}" for name, plugin in sorted(exports.items())]
        epilog = "\n".join((*lines, "", "--to NAME --help: more about one of them"))
    result = argparse.ArgumentParser(
        prog="python -m harness.export",
        description="Write a run's trials in the format of another tool. The run directory is only read.",
        epilog=f"{epilog}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="run directory of a sweep")
    result.add_argument("--to", required=True, metavar="NAME", help=", ".join(sorted(exports)).replace("%", "%%"))
    result.add_argument(
        "destination",
        type=user_path,
        metavar="DEST",
        help=f"file or folder that does not exist yet; {', '.join(_named(exports, 'updates'))}: or an earlier export, "
        "which is brought up to date",
    )
    result.add_argument(
        "--follow", nargs="?", const=FOLLOW_SECONDS, type=interval, metavar="SECONDS",
        help=f"go on until the sweep is complete, and look for what is new at this interval (default: "
        f"{FOLLOW_SECONDS:.0f}); for {', '.join(_named(exports, 'follows'))}",
    )  # fmt: skip
    _add_plugins(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    from harness.plugins import of_folders

    # The help lists what is in these folders too, and so is asked for first.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    _add_plugins(early)
    early.add_argument("--to", default="")
    early.add_argument("-h", "--help", action="store_true")
    with suppress(argparse.ArgumentError):  # the whole parser says what is wrong
        asked, _ = early.parse_known_args(argv)
        if asked.help:
            parse(parser(of_folders(asked.plugins).all(Export), asked.to), argv)
    arguments = parse(parser(), argv)
    return export(arguments, of_folders(arguments.plugins))


def export(arguments: argparse.Namespace, catalogue: Catalogue) -> int:
    """Carry out the command line."""
    from harness.run.directory import RunDirectory
    from harness.run.links import refuse_links

    plugin = catalogue.find(Export, arguments.to, "--to")
    for broken in catalogue.broken:
        complain(f"note: {broken.path}: {broken.error}")
    if arguments.follow is not None and not plugin.cls.follows:
        able = ", ".join(_named(catalogue.all(Export), "follows"))
        raise RequestError(f"--follow: {plugin.name} is written in one go; leave it out, or choose one of {able}")
    run, destination = RunDirectory(arguments.run), arguments.destination.absolute()
    run.require()
    refuse_links(run)
    if destination.exists() and not plugin.cls.updates:
        raise RequestError(f"{destination}: exists already; an export is written anew, so choose another place")
    if destination.resolve().is_relative_to(run.path.resolve()):
        raise RequestError(f"{destination}: is inside the run directory, which is only read; choose another place")
    if arguments.follow is not None:
        return _follow(run, plugin, destination, arguments.follow)
    with _alone(destination), leaving_nothing(destination):
        say(_write(plugin.cls(), ExportedRun(run), plugin, destination))
    return EXIT_DONE


def _follow(run: RunDirectory, plugin: Plugin[Export], destination: Path, every: float) -> int:
    """Export what there is, and then what is added, until the sweep is complete."""
    from harness.core.stopping import asked_to_stop
    from harness.export.following import FollowedRun, FollowLine

    with asked_to_stop() as stop, _alone(destination), FollowLine() as line:
        followed, writer = FollowedRun(run, stop), plugin.cls()
        overview = followed.look()
        with leaving_nothing(destination):
            said = _write(writer, followed, plugin, destination)
        while not (overview.complete or overview.exhausted or stop.is_set()):
            line.show(overview, followed.count)
            if not stop.wait(every):
                overview = followed.look()
                said = _write(writer, followed, plugin, destination)
    if stop.is_set():
        raise KeyboardInterrupt
    say(said)
    return EXIT_DONE


def _write(writer: Export, run: ExportedRun, plugin: Plugin[Export], destination: Path) -> str:
    """Let an export write what the run gives; says what it says."""
    built_in = plugin.cls.__module__.startswith(f"{targets.__name__}.")
    try:
        return writer.write(run, destination)
    except (RequestError, OSError):
        raise
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("harness", "analysis"):
            raise
        remedy = install("export", error.name) if built_in else "install it"
        raise RequestError(f"--to {plugin.name}: needs the package {error.name}; {remedy}") from error
    except Exception as error:
        if built_in:
            raise
        from harness.plugins import described

        raise RequestError(f"--to {plugin.name}: {plugin.path}: {described(plugin.path, error)}") from error


@contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """Make the folder of the destination, and let no other export write to that meanwhile: points would be doubled.

    Raises:
        RequestError: another one writes there, or there is no folder to write in.
    """
    absent = [folder for folder in destination.parents if not folder.exists()]
    try:
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise RequestError(f"{destination.parent}: not a folder; choose another place") from error
        mark = destination.with_name(f"{destination.name}.exporting")
        with _locked(mark) as free:
            if not free:
                raise RequestError(f"{destination}: another export writes to it now; wait until that ends, or stop it")
            yield
    finally:
        # Those that are empty, because nothing was written.
        with suppress(OSError):
            for folder in absent:
                folder.rmdir()


@contextmanager
def _locked(mark: Path) -> Iterator[bool]:
    """Whether this process has a file for itself; the end of a process, of whatever kind, gives it back."""
    descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    free = False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it before may have removed it since it was opened.
            free = os.fstat(descriptor).st_nlink > 0
        except BlockingIOError:
            free = False
        except OSError:  # a file system without locks
            free = True
        yield free
    finally:
        if free:
            mark.unlink(missing_ok=True)
        os.close(descriptor)


def _named(exports: Mapping[str, Plugin[Export]], promise: str) -> list[str]:
    """The exports that make a promise, ``updates`` or ``follows``, by name."""
    return sorted(name for name, plugin in exports.items() if getattr(plugin.cls, promise))


def _add_plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugins", action="append", default=[], type=user_path, metavar="DIR", help="additional folder of exports"
    )


if __name__ == "__main__":
    sys.exit(main())
