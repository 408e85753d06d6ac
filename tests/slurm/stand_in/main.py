"""Started by the scripts in ``bin``: ``main.py FOLDER PROGRAM [ARGUMENT…]``, without site packages."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve()

if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[3])]
    sys.exit(importlib.import_module("stand_in.programs").run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
