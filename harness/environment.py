"""What a run was made with: commit, versions, machine. No environment variables: they may hold secrets."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError, one_line

if TYPE_CHECKING:
    import torch

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
)


def capture() -> dict[str, Any]:
    """The present environment as plain data."""
    import psutil

    commit, dirty = _commit(Path(__file__).parent)
    return {
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "gpus": _gpus(),
        },
    }


def usable_device(name: str) -> torch.device:
    """The device of that name, tried out.

    Raises:
        RequestError: there is no such device, or it cannot be used here.
    """
    import torch

    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        count = torch.cuda.device_count()
        known = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
        reason = one_line(str(error)).partition(". ")[0][:60]
        raise RequestError(f"--device {name}: cannot be used here ({reason}); known: {known}") from error
    return device


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit(folder: Path) -> tuple[str | None, bool | None]:
    def git(*words: str) -> str | None:
        try:
            answer = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10)  # noqa: S607
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    status = git("status", "--porcelain")
    return git("rev-parse", "HEAD"), None if status is None else bool(status)


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
