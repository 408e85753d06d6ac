"""Slurm's disturbances in small: ten of them, and not one result changes. The long one is ``python -m slurm.chaos``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import environment, tiny_sweep

from slurm.cluster import obstacle

OBSTACLE = obstacle()


@pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}")
@pytest.mark.large
def test_ten_disturbances_change_nothing(tmp_path: Path, shared_cache: Path) -> None:
    file = tiny_sweep(
        tmp_path,
        methods=["linear_probe", "lora_c", "full_finetune", "bn_affine"],
        train={"epochs": 4, "batch_size": 32, "image_size": 8},
        search={"trials": 6, "startup": 6, "concurrency": 6},
        confirm={"seeds": 4},
    )
    command = [sys.executable, "-m", "slurm.chaos", str(file), "--disturbances", "10", "--pause", "2"]
    command += ["--workers", "3", "--work-dir", str(tmp_path / "chaos")]
    done = subprocess.run(command, env=environment(shared_cache), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no difference to the undisturbed run" in done.stdout
    assert "40 trials" in done.stdout
