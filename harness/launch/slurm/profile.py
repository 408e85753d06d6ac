"""The profile of a cluster: what each job asks Slurm for, and what a node needs before Python can start.

One YAML file for a site; every key is described in docs/slurm.md, examples are in slurm/profiles.
"""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.core.arguments import user_path
from harness.core.errors import RequestError
from harness.launch.slurm.options import Options, with_gpus
from harness.launch.slurm.values import FilledLine, Line, Memory, Minutes, SlurmText, shown_duration
from harness.launch.slurm.variables import SLURM_PREFIXES
from harness.spec.forms import Section, fault
from harness.spec.messages import validated
from harness.spec.sections import LaunchSpec
from harness.spec.source import YamlSource

MOST_MINUTES = 10 * 366 * 24 * 60
EARLY_SECONDS = 60
"""Slurm may announce the end of a job so much earlier than it was asked to."""

_GPU_OPTIONS = frozenset({"--nv", "--nvccli", "--rocm"})


def _gpu_type(name: str) -> str:
    if any(sign in name for sign in ":,()= "):
        raise ValueError(f"{name!r} is no type of GPU; write the word between the colons of sinfo's gpu:TYPE:COUNT")
    return name


def _variables(given: dict[str, str]) -> dict[str, str]:
    for name in given:
        if not (name.isascii() and name.isidentifier()):
            raise fault([name], "no name of an environment variable; use letters, digits and '_', no digit first")
        if name.startswith(SLURM_PREFIXES):
            raise fault([name], "belongs to Slurm and the launcher; remove it")
    return given


def _scratch(folder: str) -> str:
    if not folder.startswith(("/", "$")):
        raise ValueError(f"{folder!r} is relative; write an absolute path, or one that begins with a node's $VARIABLE")
    return folder


class Container(Section):
    """An image in which the jobs' Python runs."""

    image: FilledLine = Field(
        description="An image file, relative to the profile, or a URI.", examples=["gpaf-bench.sif"]
    )
    runtime: Literal["apptainer", "singularity"] = Field("apptainer", description="The program that runs it.")
    options: list[FilledLine] = Field(default=[], description="Options of its exec command, such as --bind=/data.")


class Profile(Section):
    """What each job asks for; one job is one process on one node."""

    partition: SlurmText | None = Field(None, description="Where jobs run; null: the cluster's default.")
    account: SlurmText | None = Field(None, description="Who is charged.")
    qos: SlurmText | None = Field(None, description="Quality of service.")
    reservation: SlurmText | None = Field(None, description="A reservation to run in.")
    constraint: SlurmText | None = Field(None, description="Features that a node must have, such as a100&nvlink.")
    exclude: list[SlurmText] = Field(default=[], description="Nodes to avoid.")
    gpus: int = Field(0, ge=0, le=1024, description="GPUs of a job.")
    gpu_type: Annotated[SlurmText, AfterValidator(_gpu_type)] | None = Field(
        None, description="Their type, as the cluster calls it; null: any."
    )
    cpus: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        None, description="CPUs of a job; null: the cluster's default."
    )
    memory: Memory | None = Field(None, description="Memory of a job; null: the cluster's default.")
    time: Minutes = Field(ge=1, le=MOST_MINUTES, description="Time limit of a job; kept as minutes.", examples=["4h"])
    grace: int = Field(90, ge=1, le=65535, description="Seconds before the end when workers write their checkpoints.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there are GPUs, else cpu.")
    modules: list[FilledLine] = Field(default=[], description="Environment modules to load, in this order.")
    container: Container | None = Field(None, description="An image in which Python runs; null: none.")
    environment: Annotated[dict[str, Line], AfterValidator(_variables)] = Field(
        default={}, description="Environment variables of the jobs; values are taken as they are."
    )
    scratch: Annotated[FilledLine, AfterValidator(_scratch)] | None = Field(
        None, description="A node's own folder to copy decoded images to; its $VARIABLES are looked up on the node."
    )
    python: FilledLine | None = Field(
        None, description="Python on the nodes; null: the one that submits, in a container python3."
    )
    options: Options = Field(default={}, description="Any other option of sbatch, by its long name without dashes.")

    @model_validator(mode="after")
    def _agree(self) -> Profile:
        if self.gpu_type is not None and self.gpus == 0:
            raise fault(["gpu_type"], "needs the key gpus: how many of them a job gets")
        if self.time * 60 < self.grace + EARLY_SECONDS:
            shortest = shown_duration(math.ceil((self.grace + EARLY_SECONDS) / 60))
            raise fault(
                ["time"],
                f"{shown_duration(self.time)} is too short where checkpoints are due {self.grace} s before the end "
                f"(grace) and Slurm may be {EARLY_SECONDS} s early; give at least {shortest}",
            )
        return self

    @property
    def on_gpu(self) -> bool:
        """Whether trials run on GPUs."""
        return self.device == "cuda" or (self.device == "auto" and self.gpus > 0)


def profile_of(launch: LaunchSpec) -> Profile:
    """The profile that a sweep names.

    Raises:
        RequestError: it names none, or something is wrong in it.
    """
    if launch.profile is None:
        raise RequestError("launch.profile: missing; name the file that describes your cluster (see slurm/profiles)")
    return load_profile(Path(launch.profile))


def load_profile(path: Path) -> Profile:
    """Read a profile.

    Where ``python`` or ``container.image`` is a path, ``~`` is expanded, and it is relative to the profile's folder.

    Raises:
        RequestError: the file, a key or a value is wrong; the message is ``path:line: …``.
        OSError: it cannot be read.
    """
    profile = validated(Profile, YamlSource.read(path, "profile of a cluster", "partition: gpu"))
    changes: dict[str, object] = {}
    if profile.container is not None and "://" not in profile.container.image:
        image = _absolute(profile.container.image, path.parent)
        changes["container"] = profile.container.model_copy(update={"image": image})
    if profile.python is not None and "/" in profile.python and profile.container is None:
        changes["python"] = _absolute(profile.python, path.parent)
    return profile.model_copy(update=changes)


def _absolute(given: str, folder: Path) -> str:
    # Without following links: through its link an interpreter finds its virtual environment.
    return str((folder / user_path(given)).absolute())


def sbatch_parameters(profile: Profile) -> dict[str, Any]:
    """Keyword arguments of submitit's ``SlurmExecutor.update_parameters``: one process on one node, without srun."""
    options = with_gpus(profile.options, profile.gpus, profile.gpu_type)
    if profile.reservation is not None:
        options["reservation"] = profile.reservation
    asked = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": ",".join(profile.exclude) or None,
        "cpus_per_task": profile.cpus,
        "mem": profile.memory,
    }
    return {
        **{name: value for name, value in asked.items() if value is not None},
        "time": profile.time,
        "nodes": 1,
        "ntasks_per_node": 1,
        "use_srun": False,
        # Else submitit sends its own name as an accounting key, which some sites refuse.
        "wckey": None,
        "additional_parameters": options,
    }


def setup_lines(profile: Profile) -> list[str]:
    """Lines of bash that a job runs first: modules, then variables; no value is read by the shell."""
    lines = []
    if profile.modules:
        # Batch shells read no start-up files, and these define `module`.
        lines.append("type module > /dev/null 2>&1 || . /etc/profile")
    for name in profile.modules:
        failed = shlex.quote(f"error: modules: module load {name} failed")
        lines.append(f"module load {shlex.quote(name)} || {{ echo {failed} >&2; exit 1; }}")
    return lines + [f"export {name}={shlex.quote(value)}" for name, value in profile.environment.items()]


def python_command(profile: Profile) -> str:
    """A line of bash, without Python's own arguments, that replaces the shell, so that signals reach Python."""
    container = profile.container
    if container is None:
        return f"exec {shlex.join([profile.python or sys.executable])}"
    gpu = ["--nv"] if profile.on_gpu and not _GPU_OPTIONS.intersection(container.options) else []
    words = [container.runtime, "exec", *gpu, *container.options, container.image, profile.python or "python3"]
    return f"exec {shlex.join(words)}"
