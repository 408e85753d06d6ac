"""What a run was made with: commit, changes, versions, machine. No environment variables: they may hold secrets."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from harness.core.secret_masks import masked

PACKAGES = (
    "gpaf-bench",
    "torch",
    "torchvision",
    "numpy",
    "optuna",
    "scipy",
    "polars",
    "medmnist",
    "scikit-learn",
    "timm",
    "peft",
    "submitit",
)
MOST_PATCH_BYTES = 1 << 20
SECRETS = ("*.env", ".env*", "*.pem", "*.key", "*secret*", "*credential*", "*password*", "*token*", ".netrc", "*.npmrc")
"""Files whose changes are left out, wherever they lie."""

_PACKAGE = Path(__file__).parents[1]
CODE = ("harness", "analysis", "methods", "datasets")
"""Where a file that git does not know can change what a run does."""


def capture(accelerators: Mapping[str, object]) -> dict[str, object]:
    """The present environment as plain data.

    Args:
        accelerators: ``gpus``, their names, and versions, as ``harness.train.device.accelerators`` tells them.
    """
    import psutil

    commit, dirty = _commit(_PACKAGE)
    return {
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "gpus": accelerators["gpus"],
        },
        "slurm": _slurm(),
        "installed": dict(sorted((found.name, found.version) for found in distributions())),
        **{name: version for name, version in accelerators.items() if name != "gpus"},
    }


def uncommitted_changes() -> bytes | None:
    """What the files that git tracks differ in from the commit, as a patch; None where nothing does or git is not used.

    Longer than ``MOST_PATCH_BYTES`` it is cut off and says so. Files that may hold secrets are left out, and what looks
    like a secret elsewhere is replaced by ``***``, though nobody can promise that all of them are recognised.
    """
    folder = _PACKAGE
    if not _is_tracked(folder):
        return None
    excluded = [f":(top,exclude,icase,glob)**/{pattern}" for pattern in SECRETS]
    patch = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--", ":(top)", *excluded)
    if not patch:
        return None
    content = f"{patch}\n".encode()
    rest = b"\n(cut off here: the changes are longer)\n" if len(content) > MOST_PATCH_BYTES else b""
    kept, _ = masked(content[:MOST_PATCH_BYTES].decode(errors="replace"), "changes")
    return kept.encode() + rest


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit(folder: Path) -> tuple[str | None, bool | None]:
    if not _is_tracked(folder):
        return None, None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    # An archive or a note in the clone changes nothing; a new file among the code can.
    places = [f"../{name}" for name in CODE]
    added = _git(folder, "ls-files", "--others", "--exclude-standard", "--", *places)
    return _git(folder, "rev-parse", "HEAD"), None if changed is None else bool(changed or added)


def _is_tracked(folder: Path) -> bool:
    """Whether this very file is git's: an installed package may lie inside a repository of something else."""
    return _git(folder, "ls-files", "--error-unmatch", str(Path(__file__).relative_to(folder))) is not None


def _git(folder: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, errors="replace", timeout=10  # noqa: S607
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip("\n") if answer.returncode == 0 else None


def _cpu() -> str | None:
    """The processor's name, where the system tells."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _slurm() -> dict[str, str]:
    """The Slurm job in which the sweep command was given; these variables alone, because others may hold secrets."""
    names = ("SLURM_JOB_ID", "SLURM_CLUSTER_NAME", "SLURM_JOB_PARTITION", "SLURMD_NODENAME")
    return {name.lower(): os.environ[name] for name in names if name in os.environ}
