"""A user's folder with a sweep file, a plugin and a run directory."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tiny import run_inline, run_sweep

SWEEP = """\
name: tiny
plugins: [plugins]
backbone: {name: resnet20, weights: null}
datasets:
  - zero_one: {dataset: digits, classes: [0, 1]}
methods: [my_probe]
train: {epochs: 1, image_size: 8, precision: fp32}
search: {trials: 1, seeds: [0]}
confirm: {seeds: [1000], repeat: false, vary: [seed]}
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

    def sweep(
        self, *extra: str, expect: int = 0, run: Path | None = None, report: bool = True, figures: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the sweep inside this process."""
        place = run or self.run
        return run_inline(self.file, place, self.cache, *extra, expect=expect, report=report, figures=figures)

    def sweep_with_workers(self, run: Path, expect: int, figures: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the sweep in processes of its own, as a user does."""
        return run_sweep(self.file, run, self.cache, expect=expect, figures=figures)

    def copy(self, path: Path) -> Home:
        """The same in another place."""
        shutil.copytree(self.path, path)
        return Home(path, self.cache)


def one_error(code: int, stderr: str, *words: str) -> str:
    assert code == 2, stderr
    assert "Traceback" not in stderr
    marked = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(marked) == 1, stderr
    assert stderr.splitlines()[-1] == marked[0], "the error is the last thing said"
    for word in words:
        assert word in marked[0], f"{word!r} is not in {marked[0]!r}"
    return marked[0].removeprefix("error: ")


def content(run: Path) -> dict[str, bytes]:
    """All that a run directory holds but its lock, which every command leaves a line in."""
    files = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith("lock/")}


def truncate(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
