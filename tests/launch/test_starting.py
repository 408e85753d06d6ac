"""Workers that are forked from a process with everything loaded are what workers of their own would be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from home import Home
from tiny import environment

from harness import sweep
from harness.errors import EXIT_BAD_REQUEST
from harness.launch.loading import SCRIPT, Loading
from harness.launch.local import begin_loading
from harness.launch.pool import worker_environment
from harness.launch.starting import ForkStarter, WorkerProcess, is_worker, starter
from harness.lease import claim
from harness.spec import LaunchSpec
from harness.worker_report import EXIT_STOPPED, read_report
from slurm.cluster.processes import wait_until


@pytest.fixture
def forks(home: Home) -> Iterator[ForkStarter]:
    found = starter({**environment(home.cache), "OMP_NUM_THREADS": "1", "MARK": "mine"})
    if not isinstance(found, ForkStarter):
        pytest.skip("this system does not let a process adopt its descendants")
    found.prepare()
    yield found
    found.close()


def children_of_the_script() -> list[psutil.Process]:
    """Children of this process that run the script; those of other tests may end meanwhile."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if str(SCRIPT) in child.cmdline():
                found.append(child)
    return found


def test_forked_workers(home: Home, finished_home: Home, forks: ForkStarter) -> None:
    # Somebody else runs the last trial, so that workers wait for as long as they are let.
    spec = home.run / "spec.json"
    spec.write_text(spec.read_text().replace(str(finished_home.path), str(home.path)))
    (home.confirm_trial / "result.json").unlink()
    assert claim(home.confirm_trial) is not None
    arguments = [str(home.run), "--parent", str(os.getpid()), "--data-root", str(home.cache), "--cache-root"]

    def start(name: str) -> tuple[WorkerProcess, Path]:
        log, report = home.path / f"{name}.log", home.path / f"{name}.json"
        worker = forks.start([*arguments, str(home.cache), "--report", str(report)], log)
        assert wait_until(lambda: worker.poll() is not None or read_report(report) is not None, 120), log.read_text()
        return worker, log

    refused = forks.start([str(home.path)], home.path / "refused.log")
    assert refused.wait(60) == 2 and refused.poll() == 2
    assert "error: " in (home.path / "refused.log").read_text()

    first, second = start("first")[0], start("second")[0]
    (server,) = [child for child in children_of_the_script() if not is_worker(child)]
    for worker in (first, second):
        process = psutil.Process(worker.pid)
        assert is_worker(process) and process.ppid() == os.getpid() and os.getsid(worker.pid) == worker.pid
        assert process.environ()["MARK"] == "mine"
        assert {Path(f"/proc/{worker.pid}/fd/{number}").readlink().suffix for number in (1, 2)} == {".log"}

    # Killed, told to stop, and left alone: each for itself, and no death is another one's.
    server.kill()
    first.kill()
    assert first.wait(60) == -9
    second.terminate()
    assert second.wait(60) == EXIT_STOPPED
    third, log = start("third")
    assert psutil.Process(third.pid).cmdline()[1:3] == ["-m", "harness.worker"], "from scratch, as the server is gone"
    fourth, _ = start("fourth")
    assert str(SCRIPT) in psutil.Process(fourth.pid).cmdline()
    for worker in (third, fourth):
        worker.terminate()
        assert worker.wait(60) == EXIT_STOPPED
    assert log.read_text() == ""


def test_a_process_begun_before_the_run_runs_the_copy(tmp_path: Path) -> None:
    # What stands for the copy in a run directory says so, beside all that there is.
    copy = tmp_path / "copy"
    (copy / "harness").mkdir(parents=True)
    (copy / "harness" / "__init__.py").write_text("")
    (copy / "harness" / "launch").mkdir()
    (copy / "harness" / "launch" / "__init__.py").write_text("")
    says = "import os, sys\nprint(os.environ['MARK'], os.environ['OMP_NUM_THREADS'], 'torchvision' in sys.modules)\n"
    (copy / "harness" / "launch" / "preloaded.py").write_text(says)
    early = {**os.environ, "OMP_NUM_THREADS": "3"}
    loading = Loading(early)
    assert not loading.suits({**early, "OMP_NUM_THREADS": "2"}) and loading.suits(early)
    path = os.pathsep.join((str(copy), early.get("PYTHONPATH", "")))
    process = loading.become({**early, "MARK": "copied", "PYTHONPATH": path})
    loading.close()
    said, _ = process.communicate(timeout=120)
    assert said == b"copied 3 True\n" and process.returncode == 0


def test_a_refused_request_leaves_nothing_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Loading] = []
    seen: list[psutil.Process] = []

    def begin(launch: LaunchSpec) -> Loading | None:
        begun.extend([loading] if (loading := begin_loading(launch)) is not None else [])
        seen.extend(children_of_the_script())
        return loading

    monkeypatch.setattr("harness.launch.local.begin_loading", begin)
    file, run = tmp_path / "sweep.yaml", tmp_path / "run"
    file.write_text(
        "name: refused\nbackbone: {name: resnet20, weights: null}\ndatasets: [digits]\nmethods: [no_such]\n"
        "train: {epochs: 1}\nsearch: {trials: 1, seeds: [0]}\nconfirm: {seeds: 1}\nlaunch: {kind: local, workers: 1}\n"
    )
    assert sweep.main([str(file), "--run-dir", str(run)]) == EXIT_BAD_REQUEST
    (loading,), (child,) = begun, seen
    assert not child.is_running() and not loading.suits(worker_environment(1)) and not run.exists()
    # Where the launcher is killed, its end of the pipe closes.
    told = subprocess.run(
        [sys.executable, "-P", str(SCRIPT)], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True
    )
    assert told.stdout == b""
