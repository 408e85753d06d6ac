"""A command of the user's is told once what became of a sweep, and cannot harm it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from home import Home, content, one_error
from tiny import run_inline, tiny_sweep

from harness.run.directory import RunDirectory
from harness.sweep.__main__ import main as sweep
from harness.work import notices

TELL = """
import json, os, sys
told = json.load(sys.stdin)
assert {name: told[name] for name in ("event", "message", "run")} == {
    name: os.environ["GPAF_BENCH_" + name.upper()] for name in ("event", "message", "run")
}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(told) + "\\n")
"""

FAILING = '''
"""A method whose every step fails."""

from harness.api import Float, Method


class Fails(Method):
    """Fails. Source: none. Equation: none. Trains nothing."""

    name = "fails"
    space = {name: Float(0.5, low=0.1, high=1.0) for name in ("lr", "head_lr", "weight_decay")}

    def adapt(self, model, hp):
        pass

    def training_step(self, context, images, labels):
        raise ValueError("no layer\\nto \\x1b[31madapt; $(touch owned)")
'''


def teller(folder: Path) -> tuple[list[str], Path]:
    """A command that notes what it is told, and where."""
    script, notes = folder / "tell me.py", folder / "told.jsonl"
    script.write_text(TELL)
    return [sys.executable, str(script), str(notes)], notes


def told(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


def failing_sweep(folder: Path, methods: list[str], **launch: Any) -> Path:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "fails.py").write_text(FAILING)
    return tiny_sweep(
        folder, plugins=["plugins"], methods=methods, train={"epochs": 1, "image_size": 8},
        search={"trials": 2, "seeds": [0]}, confirm={"seeds": 1},
        launch={"kind": "inline", "workers": 1, "threads": 1, **launch},
    )  # fmt: skip


def test_the_end_and_each_kind_of_failure_are_told_once(tmp_path: Path, shared_cache: Path) -> None:
    command, notes = teller(tmp_path)
    file, run = failing_sweep(tmp_path, ["linear_probe", "fails"], notify=command), tmp_path / "run"
    run_inline(file, run, shared_cache, expect=1)
    failed, finished = told(notes)
    # Both slots have failed alike.
    assert (failed["event"], failed["method"]) == ("failed", "fails")
    assert failed["trial"].startswith("studies/fails@small/search/")
    assert "failed for good" in failed["message"] and failed["message"].isprintable()
    assert "$(touch owned)" in failed["message"] and "$(touch owned)" in failed["error"]
    assert (finished["event"], finished["failed_trials"]) == ("finished", 2)
    assert finished["message"].startswith("tiny: finished: ") and "2 of them failed" in finished["message"]
    assert finished["answer"] and finished["answer"][0] in finished["message"]
    assert Path(finished["report"]).exists()
    # Nothing new, nothing told; another command is no reason to train again.
    before = {name: data for name, data in content(run).items() if name.endswith("result.json")}
    run_inline(file, run, shared_cache, expect=1)
    run_inline(file, run, shared_cache, "--set", f"launch.notify={json.dumps([*command, 'more'])}", expect=1)
    assert len(told(notes)) == 2 and not list(tmp_path.rglob("owned"))
    assert {name: data for name, data in content(run).items() if name.endswith("result.json")} == before


def test_a_sweep_that_stops_says_why(tmp_path: Path, shared_cache: Path) -> None:
    command, notes = teller(tmp_path)
    run_inline(failing_sweep(tmp_path, ["fails"], notify=command), tmp_path / "run", shared_cache, expect=1)
    failed, halted = told(notes)
    assert (failed["event"], halted["event"]) == ("failed", "halted")
    assert "every method failed alike" in halted["message"] and "--retry-failed" in halted["message"]


@pytest.mark.parametrize(
    ("program", "trouble"),
    [("raise SystemExit(3)", "exit code 3"), ("import time; time.sleep(60)", "took longer than"), ("pass", "")],
)
def test_a_command_that_fails_is_one_line_and_changes_nothing(
    home: Home, program: str, trouble: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notices, "SECONDS", 0.5)
    shutil.rmtree(home.run / "notices", ignore_errors=True)
    before = {name: data for name, data in content(home.run).items() if name.startswith("studies/")}
    command = [sys.executable, "-c", program]
    begun = time.monotonic()
    done = home.sweep("--set", f"launch.notify={json.dumps(command)}")
    assert time.monotonic() - begun < 30
    notes = [line for line in done.stderr.splitlines() if "launch.notify" in line]
    assert [trouble in line for line in notes] == [True] * bool(trouble)
    assert {name: data for name, data in content(home.run).items() if name.startswith("studies/")} == before


def test_a_command_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tiny_sweep(tmp_path, launch={"kind": "inline", "notify": ["no_such_command_here"]})
    code = sweep([str(file), "--run-dir", str(tmp_path / "run")])
    one_error(code, capsys.readouterr().err, "launch.notify", "no_such_command_here", "give its path")
    assert not RunDirectory(tmp_path / "run").path.exists()
