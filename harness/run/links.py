"""A run directory holds its own files: a link in it could lead a stranger's run to read or write anything of yours."""

from __future__ import annotations

import os
from pathlib import Path

from harness.core.files import NoPlainFileError
from harness.core.many_files import each
from harness.run.directory import RunDirectory

_DEEPEST = 4
"""From the run directory to the folders of trials; what these hold is opened without following links."""


def refuse_links(run: RunDirectory) -> None:
    """Raise NoPlainFileError where a link is in the place of a folder or file of the run.

    Two folders are left out, which no command reads: the copies of the code, which link to what is beside a user's
    plugins, and the logs of jobs, where submitit links each script under a second name.
    """
    unread = {run.path / "code", run.path / "slurm" / "log"}
    level = [run.path] if run.path.is_dir() else []
    for _ in range(_DEEPEST):
        found = each(_entries, level)
        for links, _ in found:
            if links:
                raise NoPlainFileError(links[0], "a link inside of a run directory")
        level = [path for _, folders in found for path in folders if path not in unread]


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """The links and the folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            known = [(Path(entry.path), entry.is_symlink(), entry.is_dir(follow_symlinks=False)) for entry in entries]
    except (FileNotFoundError, PermissionError):
        return [], []
    return [path for path, is_link, _ in known if is_link], [path for path, _, is_folder in known if is_folder]
