"""Which options of sbatch a profile may pass on, and which have a key of their own or belong to the launcher."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Tag

from harness.launch.slurm.values import SlurmText
from harness.spec.forms import by_kind, fault

Option: TypeAlias = bool | int | str

_KEYS = {
    "partition": ("partition",),
    "account": ("account",),
    "qos": ("qos",),
    "reservation": ("reservation",),
    "constraint": ("constraint",),
    "exclude": ("exclude",),
    "gpus and gpu_type": ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket"),
    "cpus": ("cpus-per-task", "cpus-per-gpu"),
    "memory": ("mem", "mem-per-cpu", "mem-per-gpu"),
    "time": ("time",),
    "grace": ("signal",),
}
_REASONS = {
    "nodes": "every job is one process on one node; more of them: launch.workers",
    "ntasks": "every job is one process on one node; more of them: launch.workers",
    "ntasks-per-node": "every job is one process on one node; more of them: launch.workers",
    "array": "the launcher sets it; the number of jobs is launch.workers",
    "job-name": "the launcher finds its jobs by their names; a sweep's begins with the key name of the sweep file",
    "output": "the launcher sets it; what jobs print is in slurm/log in the run directory",
    "error": "the launcher sets it; what jobs print is in slurm/log in the run directory",
    "open-mode": "the launcher sets it",
    "comment": "the launcher sets it",
    "requeue": "the launcher sets it: a job goes on after its time limit, a preemption or the loss of its node",
    "no-requeue": "the launcher needs the opposite: a job goes on after its time limit or the loss of its node",
    "wrap": "the launcher submits a script of its own",
    "chdir": "jobs run in the folder in which the sweep was started",
    "clusters": "set the environment variable SLURM_CLUSTERS where you start the sweep",
    "parsable": "the launcher reads what sbatch prints",
    "quiet": "the launcher reads what sbatch prints",
    "wait": "sbatch would not return; use the sweep's own --wait",
    "test-only": "nothing would be submitted; use the sweep's own --dry-run",
    "help": "nothing would be submitted",
    "usage": "nothing would be submitted",
    "version": "nothing would be submitted",
}
_RESERVED = {option: f"use the key {key}" for key, options in _KEYS.items() for option in options} | _REASONS


def check_options(given: dict[str, Option]) -> dict[str, Option]:
    """Refuse options that sbatch cannot have, or that somebody else sets.

    Raises:
        PydanticCustomError: which one, and what to do instead.
    """
    for name, value in given.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", name):
            plain = name.strip("-").replace("_", "-").lower()
            meant = f", such as {plain}" if re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", plain) else ""
            raise fault([name], f"write the long name of an sbatch option without its leading dashes{meant}")
        # sbatch takes the beginning of a name for the name.
        meant = next((word for word in sorted(_RESERVED, key=len) if word.startswith(name)), "")
        if meant:
            other = "" if meant == name else f"means {meant} to sbatch; "
            raise fault([name], f"{other}{_RESERVED[meant]}")
        if value is False:
            raise fault([name], "write true, or leave the option out")
        if name == "gres" and any(part.partition(":")[0] == "gpu" for part in str(value).split(",")):
            raise fault([name], "use the keys gpus and gpu_type for GPUs; the rest may stay here")
    return given


def with_gpus(options: Mapping[str, Option], gpus: int, gpu_type: str | None) -> dict[str, Option]:
    """The options with the GPUs among what ``gres`` asks for.

    Args:
        options: as checked.
        gpus: number for one node, from 0.
        gpu_type: the site's name of their type; None for any.
    """
    kind = "gpu" if gpu_type is None else f"gpu:{gpu_type}"
    wanted = [f"{kind}:{gpus}"] if gpus else []
    if "gres" in options:
        wanted.append(str(options["gres"]))
    return {**options, "gres": ",".join(wanted)} if wanted else dict(options)


Options = Annotated[
    dict[
        str,
        Annotated[
            Annotated[bool, Tag("<switch>")] | Annotated[int, Tag("<number>")] | Annotated[SlurmText, Tag("<text>")],
            by_kind({bool: "<switch>", int: "<number>", str: "<text>"}, "text, a whole number or true"),
        ],
    ],
    AfterValidator(check_options),
]
