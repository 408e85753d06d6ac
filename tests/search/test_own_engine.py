"""A user's engine searches a sweep with a driver of its own; workers do the rest."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tiny import ROOT, environment, sweep_command
from warm import EMPTY_FIGURES, warm

from harness.plugins import main as plugins
from harness.run.directory import RunDirectory

GUIDE = (ROOT / "docs" / "writing-an-engine.md").read_text(encoding="utf-8")
BACKWARDS, SWEEP = re.findall(r"^```(?:python|yaml)\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The guide's sweep beside its plugin."""
    (tmp_path / "my_plugins").mkdir()
    (tmp_path / "my_plugins" / "backwards.py").write_text(BACKWARDS)
    (tmp_path / "backwards.yaml").write_text(SWEEP)
    return tmp_path / "backwards.yaml"


def test_a_users_engine_is_listed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plugins(["--plugins", str(file.parent / "my_plugins")]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "engine backwards Random configurations, the last slot first." in said


def test_a_users_engine_hands_the_slots_out_and_goes_on_where_it_was_killed(file: Path, shared_cache: Path) -> None:
    run = RunDirectory(file.parent / "run")
    command = warm(sweep_command(file, run.path))
    process = subprocess.Popen(
        command,
        env=environment(shared_cache) | EMPTY_FIGURES,
        cwd=file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 300
    while not list(run.path.glob("studies/*/search/*/result.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = subprocess.run(
        command,
        env=environment(shared_cache) | EMPTY_FIGURES,
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr

    (study,) = run.studies()
    search = {trial.name: trial for trial in study.trials("search")}
    assert list(search) == ["0000-s0", "0001-s0", "0002-s0"] and len(study.trials("confirm")) == 2
    results = {name: trial.result() for name, trial in search.items()}
    assert all(result["status"] == "done" for result in results.values())
    ended = [results[name]["time"]["ended"] for name in sorted(results, reverse=True)]
    assert ended == sorted(ended)
    assert study.chosen() is not None
    # Its code is a part of what the study is.
    assert study.description()["identity"]["sampler"]["name"] == "backwards"


def test_an_engine_that_is_not_built_in_refuses_another_launcher(file: Path, shared_cache: Path) -> None:
    command = warm(sweep_command(file, file.parent / "run", "--launcher", "inline"))
    done = subprocess.run(
        command,
        env=environment(shared_cache) | EMPTY_FIGURES,
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert "launch.kind: the engine backwards starts processes of its own; take local" in done.stderr
    assert not (file.parent / "run").exists()
