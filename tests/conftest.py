"""Fixtures for all tests: a small sweep that has run to its end, and small disks."""

from __future__ import annotations

import os
import sys

# Before anything loads torch: the networks here are tiny, and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from home import SWEEP, Home
from tiny import ROOT, environment

if TYPE_CHECKING:
    from jobs import Digits

# Hundreds of processes import our code; where none may leave it compiled, as in many containers, each compiles it all.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

LONGEST_FIRST = ("slurm", "proof", "launch", "run", "work", "tests", "sweep", "core", "train", "networks")
"""Folders whose tests start many processes or train much, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files go first, and those that wait for other processes: at the end they would leave cores idle."""
    order = {room: place for place, room in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))
    on_gpu = [item for item in items if item.get_closest_marker("cuda")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """Nothing is flushed: only a failure of the power shows a difference, and its tests pretend one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_packages_loaded_ahead() -> Iterator[None]:
    """A sweep in this process that is refused has no process that loaded packages for its workers meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.launch.this_machine.begin_loading", lambda launch: None)
        yield


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of decoded images for all tests of the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """Three digits, decoded and split."""
    from jobs import decode_digits

    return decode_digits(tmp_path_factory.mktemp("decoded"))


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Home:
    """A finished sweep; copy it before changing anything."""
    home = Home(tmp_path_factory.mktemp("finished"), shared_cache)
    home.file.write_text(SWEEP)
    home.plugin.parent.mkdir()
    source = (ROOT / "methods" / "linear_probe.py").read_text()
    home.plugin.write_text(source.replace('name = "linear_probe"', 'name = "my_probe"'))
    home.sweep(figures=True)
    return home


@pytest.fixture
def home(finished_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of the finished sweep, in whose place commands may also be given in this process."""
    wanted = environment(finished_home.cache)
    for name in ("GPAF_BENCH_CACHE", "GPAF_BENCH_DATA"):
        monkeypatch.setenv(name, wanted[name])
    monkeypatch.chdir(tmp_path)
    return finished_home.copy(tmp_path / "home")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a disk of a given size in memory, or changes it: ``small_disk("size=64k")``, ``small_disk("ro")``."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def mount(option: str) -> Path:
        nonlocal mounted
        options = f"remount,{option}" if mounted else option
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("only root can mount a small disk, and not in every container")
        mounted = True
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", str(place)], check=True)
