"""A folder of executables to be put first on the PATH."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from .processes import MAIN
from .programs import COMMANDS
from .settings import Settings, save_settings
from .state import begin


def install(folder: Path, settings: Settings | None = None) -> Path:
    """Make a cluster without jobs in a folder, and the programs that command it; returns the folder of these.

    Args:
        folder: new or empty; everything lies below it.
        settings: size and limits; the defaults when None.
    """
    settings = settings or Settings()
    folder = folder.absolute()
    programs = folder / "bin"
    programs.mkdir(parents=True)
    save_settings(folder, settings)
    begin(folder, settings.max_submit)
    for name in COMMANDS:
        words = shlex.join([sys.executable, "-IS", str(MAIN), str(folder), name])
        # A shell's script, because the first line of any other could not name an interpreter with a blank in its path.
        (programs / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (programs / name).chmod(0o755)
    return programs
