"""The programs of the stand-in by name, and what they do when the controller is away."""

from __future__ import annotations

import importlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .refusals import UNREACHABLE, Refused
from .settings import load_settings
from .state import look

COMMANDS = ("sacct", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
MODULES = {"sbatch": "submit"}
"""Where a program is in a module of another name."""

VERSION = "slurm-wlm 22.05.8"


def run(folder: Path, program: str, words: Sequence[str]) -> int:
    """Run a program and return its exit code."""
    if program == "supervise":
        importlib.import_module("stand_in.supervisor").supervise(folder, words[0])
        return 0
    if program == "wake":
        importlib.import_module("stand_in.scheduler").wake(folder, float(words[0]))
        return 0
    # A job that requeues or cancels itself is sent SIGTERM with all its processes, this one included; srun outlives its
    # tasks. A handler, unlike SIG_IGN, is not passed on to what is started here.
    signal.signal(signal.SIGTERM, lambda *_: None)
    if list(words) in (["--version"], ["-V"]):
        print(VERSION)
        return 0
    try:
        # The accounting has a server of its own.
        if program != "sacct" and look(folder).silent:
            time.sleep(load_settings(folder).silence)
            raise _unreachable(program, words)
        code: int = getattr(importlib.import_module(f"stand_in.{MODULES.get(program, program)}"), program)(
            folder, words
        )
    except Refused as refusal:
        print(*refusal.lines, sep="\n", file=sys.stderr)
        return refusal.code
    return code


def _unreachable(program: str, words: Sequence[str]) -> Refused:
    """What a command says when the controller does not answer."""
    job = words[-1] if words else ""
    match (program, *words[:2]):
        case ("scontrol", "requeue", *_):
            return Refused(f"Unexpected message received for job {job}")
        case ("scontrol", "show", str() as what):
            load = {"partition": "partitions", "config": "ctl_conf", "node": "node"}.get(what, "jobs")
            return Refused(f"slurm_load_{load} error: {UNREACHABLE}")
        case ("scancel", *_):
            return Refused(f"scancel: error: Kill job error on job id {job}: {UNREACHABLE}", code=8)
        case ("sbatch", *_):
            return Refused(f"sbatch: error: Batch job submission failed: {UNREACHABLE}")
        case ("srun", *_):
            return Refused(f"srun: error: Unable to create step for job: {UNREACHABLE}")
        case ("sinfo", *_):
            return Refused(f"slurm_load_partitions: {UNREACHABLE}")
        case _:
            return Refused(f"slurm_load_jobs error: {UNREACHABLE}")
