"""Launchers are plugins: the built-in ones and a user's, the guide's own example, do the same."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from slow_method import slow_method
from sweep_texts import BASE, write
from tiny import ROOT, environment, run_inline, run_sweep, sweep_command, tiny_sweep
from warm import warm

from harness.core.errors import RequestError
from harness.launch.starting import is_worker
from harness.launcher import Launcher
from harness.plugins import discover, main, packaged
from harness.proof.comparison import repeated_work, run_differences
from harness.run.directory import RunDirectory
from harness.studies.loading import launcher_of, load_sweep
from harness.studies.schema import schema
from harness.sweep.__main__ import main as sweep

(EXAMPLE,) = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "writing-a-launcher.md").read_text(), flags=re.MULTILINE | re.DOTALL
)

OPTIONAL = """
from harness.api import ForegroundLauncher, Options


class Queue(Options):
    queue: str = "short"


class Queued(ForegroundLauncher):
    '''Jobs of a queue.'''

    name = "queued"
    Options = Queue

    def workers(self, launch):
        raise NotImplementedError
"""

TRAIN = {"epochs": 4, "batch_size": 64, "image_size": 8}

IDLE = """
from harness.api import ForegroundLauncher


class Nobody:
    count = 3

    def start(self):
        print("started")

    def poll(self):
        return False

    def stop(self, notify):
        notify("stopped")


class Idle(ForegroundLauncher):
    '''Workers that leave at once.'''

    name = "idle"

    def workers(self, launch):
        return Nobody()
"""


def user_sweep(folder: Path, plugin: str, name: str) -> Path:
    """A sweep file with a folder of plugins that holds one launcher."""
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / f"{name}.py").write_text(plugin)
    return tiny_sweep(folder, plugins=["plugins"], methods=["linear_probe"], train={"epochs": 1, "image_size": 8})


def test_the_schema_names_the_built_in_ones() -> None:
    named, other = schema()["$defs"]["LaunchSpec"]["properties"]["kind"]["anyOf"]
    assert set(named["enum"]) == set(packaged().all(Launcher)) == {"inline", "local", "slurm"}
    assert other["type"] == "string" and "enum" not in other


def test_a_users_launcher_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    user_sweep(tmp_path, EXAMPLE, "my_subprocess")
    assert main(["--plugins", str(tmp_path / "plugins")]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "launcher my_subprocess Processes on this machine, started once." in said


@pytest.mark.parametrize(
    ("launch", "expected"),
    [
        ("{kind: slurn}", "x.yaml:15: launch.kind: no launcher is called 'slurn'; did you mean 'slurm'?"),
        ("{kind: ray}", "x.yaml:15: launch.kind: no launcher is called 'ray'; known: inline, local, queued, slurm"),
        ("{kind: local, options: {queue: a}}", "x.yaml:15: launch.options.queue: unknown key"),
        ("{kind: queued, options: {quue: a}}", "x.yaml:15: launch.options.quue: unknown key; did you mean 'queue'?"),
        ("{kind: queued, options: {queue: 3}}", "x.yaml:15: launch.options.queue: expected text, got 3"),
        ("{kind: lacking}", "x.yaml:15: launch.kind: the plugin 'lacking' is broken: "),
    ],
)
def test_a_wrong_name_or_option_is_refused_with_its_line(tmp_path: Path, launch: str, expected: str) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "queued.py").write_text(OPTIONAL)
    (plugins / "lacking.py").write_text(OPTIONAL.replace("queued", "lacking").replace("workers", "worker"))
    loaded = load_sweep(write(tmp_path, BASE + f"launch: {launch}\n"))
    with pytest.raises(RequestError) as caught:
        launcher_of(loaded.spec, discover([plugins]), loaded.place)
    message = str(caught.value).replace(f"{tmp_path}/", "")
    assert message.startswith(expected) and "\n" not in message
    if "lacking" in launch:
        assert message.endswith("plugins/lacking.py: TypeError: Queued lacks workers")


def test_options_reach_the_launcher(tmp_path: Path) -> None:
    (tmp_path / "queued.py").write_text(OPTIONAL)
    loaded = load_sweep(write(tmp_path, BASE + "launch: {kind: queued, workers: 3, options: {queue: long}}\n"))
    launcher = launcher_of(loaded.spec, discover([tmp_path]), loaded.place)
    assert launcher.options.model_dump() == {"queue": "long"}
    assert (launcher.trials_at_once(), launcher.settings.workers) == (3, 3)


def test_a_launcher_that_cannot_be_used_ends_the_sweep_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = user_sweep(tmp_path, EXAMPLE.replace("def workers(", "def its_workers("), "my_subprocess")
    for extra in (["--dry-run"], []):
        code = sweep([str(file), "--launcher", "my_subprocess", "--run-dir", str(tmp_path / "run"), *extra])
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert code == 2 and len(errors) == 1
        assert "--set launch.kind: the plugin 'my_subprocess' is broken" in errors[0]
        assert errors[0].endswith("MySubprocess lacks workers")
    assert not (tmp_path / "run").exists()


def test_a_sweep_whose_workers_leave_work_behind_is_not_done(tmp_path: Path) -> None:
    file = user_sweep(tmp_path, IDLE, "idle")
    done = run_inline(file, tmp_path / "run", tmp_path / "cache", "--launcher", "idle", expect=1, report=False)
    said = " ".join(done.stderr.split())
    assert "stopped" in said and "no worker is left, some trials are" in said and "started" in done.stdout


def test_nothing_is_cancelled_where_nothing_was_submitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = user_sweep(tmp_path, IDLE, "idle")
    for kind in ("local", "idle"):
        assert sweep([str(file), "--launcher", kind, "--run-dir", str(tmp_path / "run"), "--cancel"]) == 2
        assert "was never launched on a cluster; a local sweep is stopped by Ctrl-C" in capsys.readouterr().err


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, RunDirectory]:
    """A sweep that the inline launcher has run to its end."""
    folder = tmp_path_factory.mktemp("finished")
    slow_method(folder, 0.1)
    (folder / "plugins" / "my_subprocess.py").write_text(EXAMPLE)
    file = tiny_sweep(folder, plugins=["plugins"], methods=["slow"], train=TRAIN, confirm={"seeds": 1})
    run_inline(file, folder / "run", cache, report=False)
    return file, RunDirectory(folder / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "processes"), [("inline", 0), ("local", 2), ("my_subprocess", 2)])
def test_every_launcher_conforms(
    kind: str, processes: int, finished: tuple[Path, RunDirectory], cache: Path, tmp_path: Path
) -> None:
    """As many workers as it says; Ctrl-C ends them all, with checkpoints; what it resumes ends, with the same bits."""
    file, reference = finished
    run = RunDirectory(tmp_path / "run")
    command = sweep_command(file, run.path, "--launcher", kind)
    # Processes that are started from scratch are known by their command lines, which forks of the tests' do not have.
    command = command if kind == "my_subprocess" else warm(command)
    going = subprocess.Popen(command, env=environment(cache), stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 240
    while not any(trial.claimed and trial.checkpoint_path.exists() for trial in run.trials()):
        assert time.monotonic() < deadline and going.poll() is None
        time.sleep(0.02)
    owner = psutil.Process(next(trial.attempts()[0]["pid"] for trial in run.trials() if trial.claimed))
    launcher = owner.parent() if processes else owner
    assert launcher is not None
    children = [child for child in launcher.children(recursive=True) if is_worker(child)]
    assert len(children) == processes and (owner in children or not processes)
    going.send_signal(signal.SIGINT)
    _, errors = going.communicate(timeout=120)
    assert going.returncode == 130 and "Traceback" not in errors and "resumes from here" in errors
    assert not any(child.is_running() for child in children)
    begun = [trial for trial in run.trials() if trial.claimed and not trial.finished]
    assert any(trial.checkpoint_path.exists() for trial in begun)
    held = [trial for trial in begun if (lease := trial.lease()) is not None and not lease.content.get("released")]
    assert not held
    run_sweep(file, run.path, cache, "--launcher", kind, "--workers", "1")
    assert repeated_work(run) == []
    assert run_differences(reference, run) == []
