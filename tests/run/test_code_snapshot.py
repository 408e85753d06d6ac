"""A sweep goes on with the code that it was started with, whatever is edited meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from slow_method import slow_method
from tiny import ROOT, environment, run_inline, sweep_command, tiny_sweep
from warm import EMPTY_FIGURES, warm

from harness.core.errors import RequestError
from harness.proof.comparison import run_differences
from harness.run.code import MANIFEST, take_snapshot
from harness.run.directory import RunDirectory
from harness.work import worker
from slurm.cluster.processes import wait_until


def test_editing_code_while_a_sweep_runs_changes_nothing(tmp_path: Path, shared_cache: Path) -> None:
    program = tmp_path / "program"
    for part in ("harness", "analysis", "methods", "datasets"):
        shutil.copytree(ROOT / part, program / part)
    slow_method(tmp_path, 0.05)
    file = tiny_sweep(
        tmp_path,
        plugins=["plugins"],
        methods=["slow"],
        train={"epochs": 6, "batch_size": 64, "image_size": 8},
        search={"trials": 1},
        confirm={"seeds": 1},
        launch={"kind": "local", "workers": 1, "threads": 1},
    )
    run_inline(file, tmp_path / "calm", shared_cache, report=False)
    run = RunDirectory(tmp_path / "run")
    trial = run.study("slow@small").search_trial(0, 0)
    variables = {**environment(shared_cache), **EMPTY_FIGURES, "PYTHONPATH": str(program)}
    command = warm(sweep_command(file, run.path))
    # Not where this repository lies, which Python would look at before the program's folder.
    with subprocess.Popen(command, env=variables, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as sweep:
        assert wait_until(lambda: trial.path.exists() and len(trial.curve()) > 0, 120)
        # Files that only workers load from now on.
        for path in (
            tmp_path / "plugins" / "slow.py",
            program / "harness" / "work" / "worker.py",
            program / "harness/train/run.py",
        ):
            path.write_text("raise RuntimeError('edited')\n" + path.read_text())
        # The next worker starts from scratch: what the others were forked from is gone too.
        launcher = psutil.Process(trial.attempts()[0]["pid"]).parent()
        assert launcher is not None
        for process in launcher.children(recursive=True):
            process.send_signal(signal.SIGKILL)
        _, said = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, said
    (copy,) = (path for path in run.code_folder().iterdir() if path.is_dir())
    attempts = [lease["code"] for one in run.trials() for lease in one.attempts()]
    assert attempts == [copy.name] * 3
    assert run_differences(RunDirectory(tmp_path / "calm"), run) == []


def test_what_is_copied(tmp_path: Path) -> None:
    plugins, elsewhere = tmp_path / "plugins", tmp_path / "elsewhere"
    for folder in (plugins / "_parts", plugins / "images", plugins / "runs", elsewhere):
        folder.mkdir(parents=True)
    for path in (plugins / "mine.py", plugins / "_parts" / "__init__.py", elsewhere / "other.py"):
        path.write_text("A = 1\n")
    (plugins / "table.csv").write_text("1\n")
    (plugins / ".env").write_text("TOKEN=secret\n")
    (plugins / "again").symlink_to(plugins)
    (plugins / "other.py").symlink_to(elsewhere / "other.py")
    run = RunDirectory(plugins / "runs" / "one")
    run.create()

    copy = take_snapshot(run, [str(plugins)])
    own = copy / "plugins" / "0"
    assert {path.name for path in own.iterdir()} == {"mine.py", "other.py", "_parts", "images", "table.csv"}
    assert {path.name for path in own.iterdir() if path.is_symlink()} == {"images", "table.csv"}
    assert (own / "table.csv").read_text() == "1\n" and (own / "_parts" / "__init__.py").is_file()
    worker_file = Path(worker.__file__).relative_to(ROOT)
    for part in (worker_file, "harness/pages/templates", "methods/gpaf.py", "datasets/digits.py", MANIFEST):
        assert (copy / part).exists(), part
    assert take_snapshot(run, [str(plugins)]) == copy

    # A copy that does not hold what it promises, as after a power failure, is made again; another code is another copy.
    (own / "mine.py").write_text("")
    assert take_snapshot(run, [str(plugins)]) == copy and (own / "mine.py").read_text() == "A = 1\n"
    assert len(list((run.path / "set_aside" / "code").iterdir())) == 1
    (plugins / "mine.py").write_text("A = 2\n")
    assert take_snapshot(run, [str(plugins)]) != copy and (own / "mine.py").read_text() == "A = 1\n"

    # Its helper would not be found beside the copy.
    (elsewhere / "other.py").write_text("from . import _helper\n")
    (elsewhere / "_helper.py").write_text("B = 1\n")
    with pytest.raises(RequestError, match=r"other\.py: a link to a file whose helpers lie beside that file"):
        take_snapshot(run, [str(plugins)])
    assert not [path for path in run.code_folder().iterdir() if path.name.startswith(".")]
    if os.geteuid() != 0:
        (plugins / "mine.py").chmod(0)
        with pytest.raises(RequestError, match=r"mine\.py: cannot be copied for the workers"):
            take_snapshot(run, [str(plugins)])
