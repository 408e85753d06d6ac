"""Export a run to other tools: ``python -m harness.export RUN --to TARGET DEST``."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.arguments import parse, user_path
from harness.core.errors import EXIT_DONE, RequestError, run_command
from harness.core.extras import install
from harness.core.refusals import leaving_nothing
from harness.export import targets

if TYPE_CHECKING:
    from harness.run.directory import RunDirectory
from harness.core.output import say

EPILOG = """
csv, parquet    one row a trial
optuna          a storage with a study for each method and dataset: a journal file, or SQLite where DEST ends in .db
tensorboard     event files, a folder for each trial
mlflow          an SQLite file for `mlflow ui --backend-store-uri sqlite:///DEST`
wandb           offline runs for `wandb sync`

exit codes: 0 done, 2 the request was wrong, 130 interrupted
"""


def names() -> list[str]:
    """Every target."""
    return [module.name for module in pkgutil.iter_modules(targets.__path__)]


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m harness.export``."""
    result = argparse.ArgumentParser(
        prog="python -m harness.export",
        description="Write a run's trials in the format of another tool. The run directory is only read.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("run", type=user_path, metavar="RUN", help="run directory of a sweep")
    result.add_argument("--to", required=True, choices=names(), metavar="TARGET", help=", ".join(names()))
    result.add_argument(
        "destination",
        type=user_path,
        metavar="DEST",
        help="file or folder that does not exist yet (mlflow: or a store)",
    )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse(parser(), argv)
    return run_command(lambda: export(arguments))


def export(arguments: argparse.Namespace) -> int:
    """Carry out the command line."""
    from harness.run.directory import RunDirectory
    from harness.run.links import refuse_links

    run, destination = RunDirectory(arguments.run), arguments.destination.absolute()
    run.require()
    refuse_links(run)
    target = importlib.import_module(f"{targets.__name__}.{arguments.to}")
    if destination.exists() and not getattr(target, "UPDATES", False):
        raise RequestError(f"{destination}: exists already; an export is written anew, so choose another place")
    with leaving_nothing(destination):
        _write(run, target, arguments.to, destination)
    return EXIT_DONE


def _write(run: RunDirectory, target: Any, name: str, destination: Path) -> None:
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RequestError(f"{destination.parent}: not a folder; choose another place") from error
    try:
        say(target.export(run, destination))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("harness", "analysis"):
            raise
        needed = f"needs the package {error.name}; {install('export', error.name)}"
        raise RequestError(f"--to {name}: {needed}") from error


if __name__ == "__main__":
    sys.exit(main())
