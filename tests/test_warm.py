"""A command that is a fork of a process with packages loaded does what one from scratch does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tiny import environment
from warm import warm

PROGRAM = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ["MARK"], sorted(name for name in sys.modules if name.startswith("harness")))
print(sys.stdin.read(), file=sys.stderr)
"""


def both(words: list[str], folder: Path, **options: object) -> list[subprocess.CompletedProcess[str]]:
    # What an earlier sweep in this process told Python of its own workers is none of these commands' affair.
    env = {name: value for name, value in environment(folder).items() if name != "PYTHONSAFEPATH"} | {"MARK": "mine"}
    commands = [[sys.executable, *words], warm([sys.executable, *words])]
    return [
        subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload]
        for command in commands
    ]


def test_words_folder_variables_and_streams_arrive(tmp_path: Path) -> None:
    scratch, forked = both(["-c", PROGRAM, "a b", "ü"], tmp_path, input="in\nput")
    assert (forked.stdout, forked.stderr, forked.returncode) == (scratch.stdout, scratch.stderr, scratch.returncode)
    assert forked.stdout.startswith(f"['a b', 'ü'] {tmp_path} mine []")


@pytest.mark.parametrize(
    "program",
    ["raise SystemExit(7)", "raise SystemExit('a message')", "1 / 0", "import os; os.kill(os.getpid(), 9)", "pass",
     "import atexit, sys; atexit.register(print, 'at its end'); print('before')"],
)  # fmt: skip
def test_it_ends_as_the_other_does(program: str, tmp_path: Path) -> None:
    scratch, forked = both(["-c", program], tmp_path)
    assert (forked.returncode, forked.stdout) == (scratch.returncode, scratch.stdout)
    assert forked.stderr.splitlines()[-1:] == scratch.stderr.splitlines()[-1:]


def test_a_module_is_found_where_python_looks(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__main__.py").write_text("import harness, sys; print(harness.__file__, sys.argv[1:])\n")
    scratch, forked = both(["-m", "mine", "x"], tmp_path)
    assert forked.stdout == scratch.stdout != ""


def test_signals_are_handed_on_and_a_kill_ends_both(tmp_path: Path) -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        command = warm([sys.executable, "-c", program])
        with subprocess.Popen(
            command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as one:
            assert one.stdout is not None
            pid = int(one.stdout.readline())
            one.send_signal(number)
            # Its output is open as long as it lives.
            assert one.stdout.read() == "" and one.wait(30) == -number
        deadline = time.monotonic() + 30
        while psutil.pid_exists(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("threads", [0, 1])
def test_a_process_with_threads_is_not_forked(threads: int, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys; print('torch' in sys.modules)\n")
    program = (
        "import subprocess, sys, threading, time\n"
        f"for _ in range({threads}):\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print(subprocess.run([sys.executable, '-m', 'mine'], capture_output=True, text=True, timeout=60).stdout)\n"
    )
    command = warm([sys.executable, "-c", program])
    # An earlier test of this process may have switched the safe path on, and the folder would not be looked at.
    env = {name: value for name, value in environment(tmp_path).items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [str(threads == 0)], done.stderr
