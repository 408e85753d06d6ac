"""Slurm disturbs a sweep in small, and not one result changes. The long form is ``python -m slurm.chaos``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from slow_method import slow_method
from tiny import environment, tiny_sweep

from slurm.chaos import main
from slurm.cluster import obstacle

OBSTACLE = obstacle()

# After these jobs are missing until others submit new ones: they are left to the long version.
TOO_LONG = ("job killed", "cancelled by hand", "scancel -s KILL", "node lost")


@pytest.mark.skipif(OBSTACLE is not None, reason=f"no Slurm cluster here: {OBSTACLE}")
@pytest.mark.timeout(900)
def test_a_few_disturbances_change_nothing(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow_method(tmp_path, 0.05)
    file = tiny_sweep(
        tmp_path,
        plugins=["plugins"],
        methods=[{label: {"method": "slow"}} for label in ("first", "second")],
        train={"epochs": 20, "batch_size": 64, "image_size": 8},
        search={"trials": 6, "startup": 6, "concurrency": 6, "seeds": [0]},
        confirm={"seeds": 2},
        launch={"kind": "local", "workers": 6, "threads": 1},
    )
    for name, value in environment(shared_cache).items():
        monkeypatch.setenv(name, value)
    words = [str(file), "--disturbances", "3", "--pause", "2", "--workers", "3"]
    main([*words, *(word for kind in TOO_LONG for word in ("--without", kind))])
    said = capsys.readouterr()
    assert "no difference to the undisturbed run" in said.out and "16 trials" in said.out, said.out + said.err
    # On a slow machine the sweep may end before all of them have hit; the long form insists on its number.
    hits = re.search(r"^(\d+) disturbances hit a trial in training", said.out, re.MULTILINE)
    assert hits is not None and int(hits[1]) >= 1, said.out + said.err
