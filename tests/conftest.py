"""Fixtures for all tests: a small sweep that has run to its end, and small disks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import ROOT, environment, run_sweep

SWEEP = """\
name: tiny
plugins: [plugins]
backbone: {name: resnet20, weights: null}
datasets:
  - zero_one: {dataset: digits, classes: [0, 1]}
methods: [my_probe]
train: {epochs: 1, image_size: 8, precision: fp32}
search: {trials: 1, seeds: [0]}
confirm: {seeds: [1000]}
launch: {kind: local, workers: 1, threads: 1}
"""
"""One search trial and one confirm trial of a method that the user wrote."""


@dataclass(frozen=True)
class Home:
    """A folder with a sweep file, a plugin and perhaps a run directory."""

    path: Path
    cache: Path

    @property
    def file(self) -> Path:
        return self.path / "tiny.yaml"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def plugin(self) -> Path:
        return self.path / "plugins" / "my_probe.py"

    @property
    def study(self) -> Path:
        return self.run / "studies" / "my_probe@zero_one"

    @property
    def search_trial(self) -> Path:
        return self.study / "search" / "0000-s0"

    @property
    def confirm_trial(self) -> Path:
        (found,) = (self.study / "confirm").iterdir()
        return found

    def sweep(self, *extra: str, expect: int = 0, run: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the sweep in processes of its own, as a user does."""
        return run_sweep(self.file, run or self.run, self.cache, *extra, expect=expect)

    def copy(self, path: Path) -> Home:
        """The same in another place."""
        shutil.copytree(self.path, path)
        return Home(path, self.cache)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of decoded images for all tests of the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Home:
    """A finished sweep; copy it before changing anything."""
    home = Home(tmp_path_factory.mktemp("finished"), shared_cache)
    home.file.write_text(SWEEP)
    home.plugin.parent.mkdir()
    source = (ROOT / "methods" / "linear_probe.py").read_text()
    home.plugin.write_text(source.replace('name = "linear_probe"', 'name = "my_probe"'))
    home.sweep()
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
