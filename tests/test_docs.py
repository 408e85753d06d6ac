"""What the two guides for authors of plugins show is what runs: their blocks are written out and executed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ROOT, environment

from harness.sweep import main as sweep
from harness.trial import main as trial

GUIDES = ("writing-a-method.md", "writing-a-dataset.md")


def blocks(guide: str, language: str) -> list[str]:
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds every file of both guides where its first line says."""
    folder = tmp_path_factory.mktemp("guides")
    for guide in GUIDES:
        for block in (*blocks(guide, "python"), *blocks(guide, "yaml")):
            place = re.match(r"# (\S+)\n", block)
            assert place, f"{guide}: a block does not begin with the name of its file"
            path = folder / place[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block, encoding="utf-8")
    return folder


def run(workplace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    env = {**environment(workplace / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=workplace, env=env, capture_output=True, text=True, timeout=300)


def commands(guide: str, module: str) -> list[list[str]]:
    lines = [line for block in blocks(guide, "bash") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if f"-m {module} " in line]


def test_the_guides_own_tests_pass(workplace: Path) -> None:
    done = run(workplace, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_norm_bias.py", "test_shapes.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.fixture
def there(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are given in that folder."""
    monkeypatch.chdir(workplace)
    for name, value in environment(workplace / "cache").items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("guide", GUIDES)
def test_the_guides_trial_trains(guide: str, capsys: pytest.CaptureFixture[str]) -> None:
    ((_, _, *arguments),) = commands(guide, "harness.trial")
    assert trial(arguments) == 0
    assert "balanced_accuracy" in capsys.readouterr().out


@pytest.mark.usefixtures("there")
def test_the_guides_sweep_is_valid_and_is_the_one_that_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    ((_, _, file, *_),) = commands(GUIDES[0], "harness.chaos")
    assert sweep([file, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "norm_bias" in said.out + said.err
