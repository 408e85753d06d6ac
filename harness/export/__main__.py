"""Export a run to other tools: ``python -m harness.export RUN --to NAME DEST``."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.core.extras import install
from harness.core.output import complain, say
from harness.core.refusals import leaving_nothing
from harness.export import targets
from harness.export.contract import Export, ExportedRun

if TYPE_CHECKING:
    from harness.plugins import Catalogue, Plugin

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
        help="file or folder that does not exist yet (mlflow: or a store)",
    )
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
    run, destination = RunDirectory(arguments.run), arguments.destination.absolute()
    run.require()
    refuse_links(run)
    if destination.exists() and not plugin.cls.updates:
        raise RequestError(f"{destination}: exists already; an export is written anew, so choose another place")
    with leaving_nothing(destination):
        _write(ExportedRun(run), plugin, destination)
    return EXIT_DONE


def _write(run: ExportedRun, plugin: Plugin[Export], destination: Path) -> None:
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{destination.parent}: not a folder; choose another place") from error
    built_in = plugin.cls.__module__.startswith(f"{targets.__name__}.")
    try:
        said = plugin.cls().write(run, destination)
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
    say(said)


def _add_plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugins", action="append", default=[], type=user_path, metavar="DIR", help="additional folder of exports"
    )


if __name__ == "__main__":
    sys.exit(main())
