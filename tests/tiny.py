"""A sweep of seconds on real images (scikit-learn's digits), and how to start it as a user does."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from sketches import empty_figures
from warm import EMPTY_FIGURES, warm

ROOT = Path(__file__).parent.parent


def tiny_sweep(folder: Path, **changes: Any) -> Path:
    """Write ``tiny.yaml`` into a folder; keyword arguments replace its top-level keys.

    No confirm trial is repeated, and replicates draw a seed alone, unless the changes say otherwise.
    """
    spec: dict[str, Any] = {
        "name": "tiny",
        "backbone": {"name": "resnet20", "weights": None},
        "datasets": [{"small": {"dataset": "digits", "classes": [7, 8, 9]}}],
        "methods": ["linear_probe", "lora_c"],
        "train": {"epochs": 2, "batch_size": 64, "image_size": 8},
        "search": {"trials": 2, "seeds": [0]},
        "confirm": {"seeds": 2},
        "launch": {"kind": "local", "workers": 2, "threads": 1},
    }
    spec.update(changes)
    split, search = spec.get("split", {}), spec["search"]
    several = {"seeds", "folds", "tune"} & split.keys() or "repeats" in search
    spec["confirm"] = {"repeat": False, **({} if several else {"vary": ["seed"]}), **spec["confirm"]}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return path


def environment(cache: Path) -> dict[str, str]:
    """The environment of a command: nothing is read from or written to the user's own folders."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"GPAF_BENCH_CACHE": str(cache), "GPAF_BENCH_DATA": str(cache / "none"), "PYTHONPATH": path}
    return {**os.environ, **own}


def sweep_command(file: Path, run: Path, *extra: str) -> list[str]:
    """The command line of a sweep."""
    return [sys.executable, "-m", "harness.sweep", str(file), "--run-dir", str(run), *extra]


def run_sweep(
    file: Path, run: Path, cache: Path, *extra: str, expect: int = 0, fresh: bool = False, figures: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a sweep with workers to its end and check its exit code.

    Its processes are forks of one that has loaded packages, unless they have to be ``fresh``: see ``warm``. Those leave
    the report's figures empty, unless ``figures`` are wanted.
    """
    command = sweep_command(file, run, *extra)
    variables = environment(cache) | ({} if figures else EMPTY_FIGURES)
    done = subprocess.run(
        command if fresh else warm(command), env=variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def run_inline(
    file: Path, run: Path, cache: Path, *extra: str, expect: int = 0, report: bool = True, figures: bool = False
) -> subprocess.CompletedProcess[str]:
    """The same inside this process, without workers of its own: for what processes make no difference to.

    Without ``report`` none is written, and without ``figures`` each of its figures is an empty one, since drawing takes
    longer than the sweep.
    """
    from harness.sweep.__main__ import main

    command = [str(file), "--run-dir", str(run), "--launcher", "inline", *extra]
    output, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(cache)),
        nullcontext() if report else mock.patch("harness.work.reporting.refresh_report", return_value=""),
        empty_figures() if report and not figures else nullcontext(),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        code = main(command)
    assert code == expect, output.getvalue() + errors.getvalue()
    return subprocess.CompletedProcess(command, code, output.getvalue(), errors.getvalue())
