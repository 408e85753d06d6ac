"""A real shell completes commands, options, choices and paths by the script that is printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ROOT

from harness.__main__ import COMMANDS, PROGRAM


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "script.bash"
    command = [sys.executable, "-m", "harness", "completion", "bash"]
    path.write_text(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return path


def completed(script: Path, folder: Path, *words: str) -> set[str]:
    """What bash offers in the place of the last word."""
    program = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_shtab_gpaf_bench "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "-c", program, "bash", str(script), PROGRAM, *words]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    assert not done.stderr
    return {line.rstrip() for line in done.stdout.splitlines() if line}


def test_bash_completes_commands_options_choices_and_paths(script: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "sweep.yaml").touch()
    assert completed(script, tmp_path, "") >= {*COMMANDS}
    assert completed(script, tmp_path, "stat") == {"status"}
    assert "--dry-run" in completed(script, tmp_path, "sweep", "--d")
    assert completed(script, tmp_path, "new", "m") == {"method"}
    assert completed(script, tmp_path, "sweep", "s") == {"sweep.yaml"}
    assert completed(script, tmp_path, "networks", "in") == {"inspect"}
    # A run is a folder, so that no file is offered for it.
    assert completed(script, tmp_path, "status", "") >= {"runs"}
    assert "sweep.yaml" not in completed(script, tmp_path, "status", "")


def test_an_unknown_shell_is_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "harness.completion", "dos"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "bash" in done.stderr
