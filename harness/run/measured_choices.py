"""What a study has measured once on a kind of device, beside the leases of who measured: ``steps/DEVICE/choice.json``
says whether steps are compiled, ``kernels/DEVICE/choice.json`` whether deterministic kernels are taken."""

from __future__ import annotations

from pathlib import Path


def step_choice_path(study: Path, device: str) -> Path:
    """Where a study has it whether steps are compiled on a kind of device, beside the leases of who measured."""
    return study / "steps" / device / "choice.json"


def step_choice_paths(study: Path) -> list[Path]:
    """What a study has of these, by kind of device."""
    return sorted((study / "steps").glob("*/choice.json"))


def determinism_path(study: Path, device: str) -> Path:
    """Where a study has it whether deterministic kernels are taken on a kind of GPU, beside the measurers' leases."""
    return study / "kernels" / device / "choice.json"


def determinism_paths(study: Path) -> list[Path]:
    """What a study has of these, by kind of device."""
    return sorted((study / "kernels").glob("*/choice.json"))
