"""A stand-in for Slurm, first on the PATH."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_in import Settings, StandIn, install


@pytest.fixture
def stand_in_settings() -> Settings:
    """Of `stand_in_slurm`; a test module that needs others has a fixture of this name."""
    return Settings()


@pytest.fixture
def stand_in_slurm(tmp_path: Path, stand_in_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A pretended cluster whose programs are first on the PATH; what runs in it ends with the test.

    The folder's name is a trap for whoever gives paths to a shell.
    """
    folder = tmp_path / "stand in's"
    programs = install(folder, stand_in_settings)
    monkeypatch.setenv("PATH", os.pathsep.join((str(programs), os.environ["PATH"])))
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    cluster = StandIn(folder)
    yield cluster
    cluster.stop()
