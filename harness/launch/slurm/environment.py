"""The one environment of every Slurm command: what it shows and does depends on its command line, not on who calls.

Slurm's commands take options from variables (``SQUEUE_PARTITION``, ``SCANCEL_INTERACTIVE``, ``SBATCH_TIMELIMIT``), and
inside of a job there are that job's own. Neither reaches them here. Two choices are the user's and stay: which
cluster (``SLURM_CONF``, ``SLURM_CLUSTERS``), and where new jobs go and who pays, which becomes part of the profile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.core.errors import RequestError
from harness.launch.slurm.variables import SLURM_PREFIXES

if TYPE_CHECKING:
    from harness.launch.slurm.files import LaunchRecord
    from harness.launch.slurm.profile import Profile

CLUSTER = "SLURM_CLUSTERS"
KEPT = frozenset({"SLURM_CONF", CLUSTER})
"""Variables that choose the cluster; every command understands them alike."""

DEFAULTS = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_CONSTRAINT": "constraint",
}
"""Variables of sbatch that stand for a key that the profile leaves out."""

_SET_BY_SLURM = ("SBATCH_CPU_BIND", "SBATCH_MEM_BIND")


def outer_environment() -> dict[str, str]:
    """This process's environment without what changes the meaning of a Slurm command line."""
    return {
        name: value
        for name, value in os.environ.items()
        # POSIXLY_CORRECT lets options end at the first other word.
        if name in KEPT or not (name.startswith(SLURM_PREFIXES) or name == "POSIXLY_CORRECT")
    }


def reading_environment() -> dict[str, str]:
    """The environment of a command whose output is read: in no language and with no format of the user's."""
    return {**outer_environment(), "LC_ALL": "C"}


@contextmanager
def outside_of_a_job() -> Iterator[None]:
    """Let what is submitted in here see the environment of a login node, and nobody's options of sbatch."""
    before = dict(os.environ)
    kept = outer_environment()
    try:
        for name in before.keys() - kept.keys():
            del os.environ[name]
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def with_defaults(profile: Profile, variables: Mapping[str, str]) -> tuple[Profile, list[str]]:
    """The profile with what variables of sbatch say about keys that it leaves out.

    So a job that submits others, and the same command in another shell, ask for the same.

    Returns:
        The profile, and a line about what was taken and one about what does not count.

    Raises:
        RequestError: Slurm would not understand a value.
    """
    # Not at the top: status asks Slurm too, and answers before pydantic is loaded.
    from pydantic import ValidationError

    found = {
        name: (key, variables[name])
        for name, key in DEFAULTS.items()
        if variables.get(name) and getattr(profile, key) is None
    }
    for name, (key, value) in found.items():
        try:
            profile = type(profile).model_validate({**profile.model_dump(mode="json"), key: value})
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise RequestError(f"{name}: {said}; unset it, or write {key} in the profile") from error
    taken = [f"profile: {key}: {value} is from {name}" for name, (key, value) in found.items()]
    others = sorted(
        name
        for name, value in variables.items()
        if name.startswith("SBATCH_")
        and value
        and name not in {*DEFAULTS, "SBATCH_CLUSTERS"}
        and not name.startswith(_SET_BY_SLURM)
    )
    unused = [f"{', '.join(others)}: not used; what a job asks for is in the profile"] if others else []
    return profile, taken + unused


def chosen_cluster(variables: Mapping[str, str]) -> str | None:
    """The cluster that the user chooses by a variable; None where it is this machine's own.

    Raises:
        RequestError: it names several.
    """
    for name in (CLUSTER, "SBATCH_CLUSTERS"):
        value = variables.get(name, "").strip()
        if "," in value or value.lower() == "all":
            raise RequestError(
                f"{name}: {value!r} names several clusters, but a sweep's jobs run on one; name that one"
            )
        if value:
            return value
    return None


def use_cluster_of(launch: LaunchRecord) -> None:
    """`use_cluster` with what a launch recorded; the user's choice stays where that was not recorded yet."""
    if "cluster" in launch:
        use_cluster(launch["cluster"])


def use_cluster(name: str | None) -> None:
    """Let every Slurm command of this process, and of what it starts, go to that cluster; None: this machine's own."""
    if name is None:
        os.environ.pop(CLUSTER, None)
    else:
        os.environ[CLUSTER] = name
