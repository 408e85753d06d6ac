"""Loads other people's packages that every worker needs, before it is known which code of ours it will run.

Started by its path, while the sweep command still checks the request: nothing of a run directory exists then, so
``harness`` itself must not be imported, whose copy in the run directory is meant. A line of JSON on standard input,
variables of the environment, says where that copy is; then this process becomes ``harness.launch.preloaded``. Where
standard input is closed instead, it ends.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys

PACKAGES = (
    "optuna",
    # Itself of a second, and torch's optimisers and torchvision load it at the first use.
    "torch._dynamo",
    "torchvision",
)


def main() -> None:
    """Load, wait for the code, and become the process that forks workers."""
    # What standard output is for comes later.
    answers = os.dup(1)
    os.dup2(2, 1)
    for package in PACKAGES:
        importlib.import_module(package)
    os.dup2(answers, 1)
    os.close(answers)
    line = b""
    # Unbuffered: what follows is for somebody else.
    while not line.endswith(b"\n"):
        character = os.read(0, 1)
        if not character:
            return
        line += character
    variables = json.loads(line)
    os.environ.update(variables)
    # As a new interpreter would begin under these variables.
    sys.path[:0] = [folder for folder in variables.get("PYTHONPATH", "").split(os.pathsep) if folder]
    runpy.run_module("harness.launch.preloaded", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
