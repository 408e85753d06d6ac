"""The folder that an export writes to and comes back to: whose it is stands in it."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import RequestError
from harness.core.files import encode_json, parse_json, read_with_status, write_atomic

MARK = "gpaf_bench.json"
"""The file in it that says which export of which run this is."""


def own_folder(folder: Path, export: str, run: str) -> None:
    """Make the folder of an export, unless it is there.

    Args:
        folder: destination of the export.
        export: its name.
        run: name of the run.

    Raises:
        RequestError: there is something else.
    """
    wanted = {"export": export, "run": run}
    if folder.is_dir() and next(folder.iterdir(), None) is not None:
        try:
            found = parse_json(read_with_status(folder / MARK)[1])
        except (OSError, RequestError):
            found = None
        if found != wanted:
            raise RequestError(f"{folder}: holds something else than a {export} export of {run}; choose another place")
        return
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder}: is no folder; choose another place")
    folder.mkdir(exist_ok=True)
    write_atomic(folder / MARK, encode_json(wanted))
