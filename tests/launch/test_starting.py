"""Workers that are forked from a process with everything loaded are what workers of their own would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from home import Home
from tiny import environment

from harness.core.errors import EXIT_BAD_REQUEST
from harness.core.lease import claim
from harness.launch import preloaded
from harness.launch.loading import SCRIPT, Loading
from harness.launch.pool import worker_environment
from harness.launch.starting import ForkStarter, WorkerProcess, is_worker, starter, uninterrupted
from harness.launch.this_machine import begin_loading
from harness.spec.sections import LaunchSpec
from harness.sweep import __main__ as sweep
from harness.work.worker_report import EXIT_STOPPED, read_report
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

    def start(name: str) -> WorkerProcess:
        log, report = home.path / f"{name}.log", home.path / f"{name}.json"
        worker = forks.start([*arguments, str(home.cache), "--report", str(report)], log)
        assert wait_until(lambda: worker.poll() is not None or read_report(report) is not None, 120), log.read_text()
        return worker

    refused = forks.start([str(home.path)], home.path / "refused.log")
    assert refused.wait(60) == 2 and refused.poll() == 2
    assert "error: " in (home.path / "refused.log").read_text()

    first, second = start("first"), start("second")
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
    assert (home.path / "second.log").read_text() == ""


FORKS = """
import errno, os, sys, time

fork, calls = os.fork, 0

def failing():
    global calls
    calls += 1
    how = os.environ["FORKS"].split()
    what = how[calls - 1] if calls <= len(how) else "works"
    if what == "fails":
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    if what == "hangs":
        time.sleep(3600)
    if what == "dies":
        os._exit(9)
    return fork()

if sys.argv[0].endswith("load_packages.py"):
    os.fork = failing
"""
"""Lets the process that is forked fail at a fork: its own, and those of its children, which inherit the count."""


STANDS_IN = {
    **dict.fromkeys(("optuna", "torchvision", "torch.__init__", "torch._dynamo"), ""),
    **dict.fromkeys((f"harness.{name}__init__" for name in ("", "launch.", "train.", "work.")), ""),
    **dict.fromkeys(("harness.train.run", "harness.work.scheduler"), ""),
    "harness.launch.preloaded": Path(preloaded.__file__).read_text(),
    "harness.plugins": "def load_builtin():\n    pass\n",
    "harness.work.worker": "import sys\n\n\ndef main(arguments=None):\n    print(*sys.orig_argv[1:])\n"
    f"    sys.exit({EXIT_BAD_REQUEST})\n\n\nif __name__ == '__main__':\n    main()\n",
}
"""Modules that load nothing: a worker that says how it was started and ends, and what forks it as it is."""
SCRATCH, FORK = "-m harness.work.worker\n", f"-P {SCRIPT}\n"
"""What that worker says."""


def light(folder: Path, **variables: str) -> dict[str, str]:
    """The environment of processes that load what stands in for the harness and its packages, within a moment."""
    for name, text in STANDS_IN.items():
        path = folder / "light" / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    own = environment(folder / "cache")
    path = os.pathsep.join((str(folder / "light"), own["PYTHONPATH"]))
    return {**own, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **variables}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; in the repository's, Python would find the harness itself."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_failing_forks(folder: Path, forks: str) -> ForkStarter:
    variables = light(folder, FORKS=forks)
    (folder / "light" / "sitecustomize.py").write_text(FORKS)
    found = starter(variables)
    if not isinstance(found, ForkStarter):
        pytest.skip("this system does not let a process adopt its descendants")
    found.prepare()
    return found


@pytest.mark.parametrize("forks", ["fails", "works fails", "works dies"])
def test_a_fork_that_fails_is_no_end(forks: str, here: Path) -> None:
    found = with_failing_forks(here, forks)
    try:
        found.wait_until_ready()
        began = time.monotonic()
        worker = found.start([], here / "first.log")
        assert time.monotonic() - began < 10
        assert worker.wait(120) == EXIT_BAD_REQUEST
        assert (here / "first.log").read_text() == SCRATCH
        # The process that is forked is there as before, and the next fork works.
        if forks != "fails":
            return
        assert found.start([], here / "second.log").wait(120) == EXIT_BAD_REQUEST
        assert (here / "second.log").read_text() == FORK
    finally:
        found.close()


def test_a_process_that_is_gone_is_replaced(here: Path) -> None:
    found = with_failing_forks(here, "")
    try:
        found.wait_until_ready()
        (server,) = children_of_the_script()
        server.kill()
        for name, said in (("first", SCRATCH), ("second", FORK)):
            assert found.start([], here / name).wait(120) == EXIT_BAD_REQUEST
            assert (here / name).read_text() == said
    finally:
        found.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_fork_that_hangs_can_be_interrupted(number: int, here: Path) -> None:
    found = with_failing_forks(here, "works hangs")
    before = {kind: signal.signal(kind, signal.default_int_handler) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        found.wait_until_ready()
        began = time.monotonic()
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            found.start([], here / "worker.log")
        assert time.monotonic() - began < 10
        assert not [child for child in psutil.Process().children() if is_worker(child)]
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        found.close()
        for child in children_of_the_script():
            child.kill()


def test_a_fork_that_hangs_is_not_waited_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.launch.starting.ANSWER_SECONDS", 0.5)
    found = with_failing_forks(here, "works hangs")
    try:
        found.wait_until_ready()
        assert found.start([], here / "worker.log").wait(120) == EXIT_BAD_REQUEST
    finally:
        found.close()
        for child in children_of_the_script():
            child.kill()


def test_modules_that_load_for_ever_are_not_waited_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.launch.starting.READY_SECONDS", 0.5)
    script = here / "hangs.py"
    script.write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setattr("harness.launch.loading.SCRIPT", script)
    found = ForkStarter(light(here))
    try:
        found.wait_until_ready()
        assert found.start([], here / "worker.log").wait(120) == EXIT_BAD_REQUEST
    finally:
        found.close()


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

    monkeypatch.setattr("harness.launch.this_machine.begin_loading", begin)
    file, run = tmp_path / "sweep.yaml", tmp_path / "run"
    file.write_text(
        "name: refused\nbackbone: {name: resnet20, weights: null}\ndatasets: [digits]\nmethods: [no_such]\n"
        "train: {epochs: 1}\nsearch: {trials: 1, seeds: [0]}\nconfirm: {seeds: 1}\nlaunch: {kind: local, workers: 1}\n"
    )
    # On a machine that is full for a moment no process is begun, and the sweep goes on without.
    for _ in range(5):
        assert sweep.main([str(file), "--run-dir", str(run)]) == EXIT_BAD_REQUEST
        if begun:
            break
    (loading,), (child,) = begun, seen
    assert not child.is_running() and not loading.suits(worker_environment(1)) and not run.exists()
    # Where the launcher is killed, its end of the pipe closes.
    told = subprocess.run(
        [sys.executable, "-P", str(SCRIPT)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True, env=light(tmp_path),
    )  # fmt: skip
    assert told.stdout == b""
