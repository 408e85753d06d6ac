"""What `harness.plan` says of a sweep before it runs, beside what the sweep then takes: ``python -m benchmarks.plan``.

Five small sweeps that differ in methods, datasets, image sizes, early stopping, workers and backbone; each is planned
with a probe on this machine and then run on it, so give both the machine to themselves. Real archives are looked for as
``harness.sweep`` does. What to expect: trials exactly as predicted,
device-seconds inside the interval, bytes and files within a few per cent.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from harness.core.errors import EXIT_DONE, EXIT_SOME_FAILED
from harness.run.directory import RunDirectory

DIGITS = {"small": {"dataset": "digits", "classes": [7, 8, 9]}}
TEACHER = {
    "method": "full_finetune",
    "dataset": {"dataset": "digits", "classes": [0, 1, 2, 3, 4, 5, 6]},
    "train": {"epochs": 3},
    "hyperparameters": {"lr": 0.003, "head_lr_ratio": 1.0},
}
SWEEPS: Mapping[str, Mapping[str, Any]] = {
    "digits": {
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": DIGITS,
        "methods": ["linear_probe", "lora_c", "bn_affine", "gpaf"],
        "train": {"epochs": 5, "batch_size": 32, "image_size": 16},
        "search": {"trials": 3},
        "confirm": {"seeds": 3},
        "launch": {"workers": 2, "threads": 1},
    },
    "digits_transfer": {
        "backbone": {"name": "resnet20", "weights": TEACHER},
        "datasets": {**DIGITS, "few": {"dataset": "digits", "classes": [3, 5]}},
        "methods": ["full_finetune", "bitfit", "wise_ft"],
        "split": {"allow_leakage": "This measures times; the teacher may know test images of the digits 3 and 5."},
        "train": {"epochs": 4, "batch_size": 32, "image_size": 16},
        "search": {"trials": 2},
        "confirm": {"seeds": 3, "repeat": False},
        "launch": {"workers": 2, "threads": 1},
    },
    "brain_mri": {
        "backbone": {"name": "resnet20", "weights": TEACHER},
        "datasets": ["brain_mri"],
        "methods": ["linear_probe", "bn_affine", "metalr", "gpaf"],
        "train": {"epochs": 3, "batch_size": 32, "image_size": 28, "per_class": 100},
        "search": {"trials": 3},
        "confirm": {"seeds": 3, "control": "gpaf"},
        "launch": {"workers": 2, "threads": 1},
    },
    "breastmnist_early": {
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": ["breastmnist"],
        "methods": ["full_finetune", "lora_c"],
        "train": {"epochs": 10, "batch_size": 32, "image_size": 28, "patience": 2},
        "search": {"trials": 2},
        "confirm": {"seeds": 3},
        "launch": {"workers": 1, "threads": 2},
    },
    "brain_mri_resnet18": {
        "backbone": {"name": "resnet18", "weights": None},
        "datasets": ["brain_mri"],
        "methods": ["linear_probe", "bitfit"],
        "train": {"epochs": 2, "batch_size": 32, "image_size": 48, "per_class": 100},
        "search": {"trials": 3},
        "confirm": {"seeds": 2, "repeat": False},
        "launch": {"kind": "inline", "threads": 2},
    },
}
BYTES_WITHIN = 0.2
COUNTED = ("studies", "sources", "splits", "cards", "code")
"""Folders of a run directory that a plan speaks of."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sweep, as planned and as it was."""

    sweep: str
    trials_planned: int
    trials: int
    low: float
    expected: float
    high: float
    seconds: float
    """Device-seconds."""
    bytes_planned: int
    bytes: int
    files_planned: int
    files: int
    wall_planned: float
    wall: float
    plan_seconds: float
    """How long planning took, the probe included."""

    @property
    def inside(self) -> bool:
        """Whether the device-seconds lay in the interval."""
        return self.low <= self.seconds <= self.high


def outcome(name: str, folder: Path) -> Outcome:
    """Plan one sweep, run it, and compare."""
    file, run = folder / f"{name}.yaml", RunDirectory(folder / "runs" / name)
    file.write_text(yaml.safe_dump({"name": name, **SWEEPS[name]}, sort_keys=False))
    began = time.perf_counter()
    plan = json.loads(_run("harness.plan", file, run, "--json"))
    planned = time.perf_counter()
    _run("harness.sweep", file, run)
    ended = time.perf_counter()
    trials = list(run.trials())
    files = [path for part in COUNTED for path in (run.path / part).rglob("*") if path.is_file()]
    span = plan["device_seconds"]
    return Outcome(
        sweep=name,
        trials_planned=plan["trials"],
        trials=len(trials),
        low=span["low"],
        expected=span["middle"],
        high=span["high"],
        seconds=sum(trial.spent().seconds for trial in trials),
        bytes_planned=plan["disk"]["stays"],
        bytes=sum(path.stat().st_size for path in files),
        files_planned=plan["disk"]["files"],
        files=len(files),
        wall_planned=plan["wall_seconds"]["middle"],
        wall=ended - planned,
        plan_seconds=planned - began,
    )


def table(outcomes: list[Outcome]) -> Table:
    """What was planned beside what was."""
    result = Table(box=None, pad_edge=False)
    result.add_column("sweep")
    for column in ("trials", "device-seconds planned", "measured", "inside", "kB", "measured", "files", "plan s"):
        result.add_column(column, justify="right")
    for one in outcomes:
        result.add_row(
            one.sweep,
            f"{one.trials_planned}={one.trials}"
            if one.trials_planned == one.trials
            else f"{one.trials_planned}≠{one.trials}",
            f"{one.low:.0f} … {one.expected:.0f} … {one.high:.0f}",
            f"{one.seconds:.0f}",
            "yes" if one.inside else "NO",
            f"{one.bytes_planned / 1000:.0f}",
            f"{one.bytes / 1000:.0f} ({one.bytes_planned / one.bytes - 1:+.0%})",
            f"{one.files_planned}/{one.files}",
            f"{one.plan_seconds:.0f}",
        )
    return result


def _run(module: str, file: Path, run: RunDirectory, *extra: str) -> str:
    command = [sys.executable, "-m", module, str(file), "--run-dir", str(run.path), *extra]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def _add(path: Path, found: Outcome) -> None:
    """Put an outcome into a file, in the place of an earlier one of the same sweep."""
    before = json.loads(path.read_text()) if path.exists() else []
    rows = [row for row in before if row["sweep"] != found.sweep] + [asdict(found)]
    path.write_text(json.dumps(rows, indent=2) + "\n")


def main() -> int:
    """Plan and run what is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description="Plans beside what sweeps take.")
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help=f"some of {', '.join(SWEEPS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add what was found to this file")
    arguments = parser.parse_args()
    console, found = Console(width=140), []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.sweeps or SWEEPS:
            found.append(outcome(name, Path(folder)))
            if arguments.json is not None:
                _add(arguments.json, found[-1])
            console.print(table(found[-1:]))
            sys.stdout.flush()
    if len(found) > 1:
        console.print(table(found))
    good = sum(one.inside for one in found) >= 0.8 * len(found) and all(
        one.trials == one.trials_planned and abs(one.bytes_planned / one.bytes - 1) <= BYTES_WITHIN for one in found
    )
    return EXIT_DONE if good else EXIT_SOME_FAILED


if __name__ == "__main__":
    sys.exit(main())
