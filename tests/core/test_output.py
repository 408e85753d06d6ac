"""No command fails because of what its output meets, and no text that it prints is obeyed by a terminal."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from home import Home
from rich.table import Table
from tiny import environment, sweep_command
from warm import warm

from harness.__main__ import COMMANDS
from harness.core.console import Console
from harness.core.errors import RequestError, one_line, run_command
from harness.core.output import printable, printable_lines

MODULES = sorted({module for module, _ in COMMANDS.values()} | {"slurm.chaos", "slurm.cluster.__main__"})

EVERY_HELP = """
import importlib, sys
for name in sys.argv[1].split(","):
    for arguments in (["--help"], ["--nowhere\\x1b[31m\\u202e"]):
        try:
            code = importlib.import_module(name).main(arguments)
        except SystemExit as stop:
            code = stop.code
        assert code in (0, 1, 2), (name, arguments, code)
"""

EVERY_READER = """
import importlib, json, sys
for name, *arguments in json.loads(sys.argv[1]):
    code = importlib.import_module(name).main(arguments)
    assert code in (0, 2), (name, arguments, code)
"""


def run(
    program: list[str],
    folder: Path,
    shell: str = "",
    encoding: str | None = None,
    cache: Path | None = None,
    start: Callable[[list[str]], list[str]] = list,
) -> subprocess.CompletedProcess[bytes]:
    """Start Python as a shell would, with redirections; ``start`` is `warm` for a fork with these streams."""
    env = environment(cache or folder / "cache")
    if encoding is not None:
        env |= {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = ["bash", "-c", f'exec "$@" {shell}', "bash", *start([sys.executable, *program])]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=240)


def no_traceback(done: subprocess.CompletedProcess[bytes]) -> None:
    assert b"Traceback" not in done.stdout + done.stderr, (done.stdout + done.stderr).decode(errors="replace")[-2000:]
    assert b"Exception ignored" not in done.stderr, done.stderr.decode(errors="replace")


WAYS = {
    "ascii": ("", "ascii"),
    "strict ascii": ("", "ascii:strict"),
    "latin-1": ("", "latin-1"),
    "closed output": (">&-", None),
    "closed errors": ("2>&-", None),
    "all closed": ("<&- >&- 2>&-", None),
    "full disk": ("> /dev/full 2> /dev/full", None),
}


@pytest.mark.parametrize("way", WAYS)
def test_help_and_slips_of_every_command(way: str, tmp_path: Path) -> None:
    shell, encoding = WAYS[way]
    done = run(["-c", EVERY_HELP, ",".join(MODULES)], tmp_path, shell, encoding)
    no_traceback(done)
    if way != "full disk":
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    if encoding is not None:
        assert done.stdout.count(b"usage: ") >= len(MODULES) - 1
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("way", ["ascii", "latin-1", "closed output", "closed errors"])
def test_every_reader_of_a_run(way: str, home: Home) -> None:
    shell, encoding = WAYS[way]
    commands = [
        ["harness.status.__main__", str(home.run)],
        ["harness.status.__main__", str(home.run), "--json"],
        ["harness.doctor.__main__", str(home.run)],
        ["harness.replay", str(home.run)],
        ["harness.archive", str(home.run), "--out", str(home.path / "a.zip")],
        ["harness.archive", "--verify", str(home.path / "a.zip")],
        ["analysis.trace", str(home.run), "my_probe@zero_one"],
        ["analysis.report", str(home.run), "--out", str(home.path / "report")],
        ["harness.plugins"],
        ["harness.sweep.__main__", str(home.file), "--dry-run", "--set", "methods=[linear_probe]"],
        ["harness.sweep.__main__", str(home.file), "--dry-run", "--set", "methods=[linéar_probe…]"],
        ["harness.data.__main__", "digits", "--out", str(home.path / "digits")],
    ]
    done = run(["-c", EVERY_READER, json.dumps(commands)], home.path, shell, encoding, home.cache, start=warm)
    no_traceback(done)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-3000:]
    if way != "closed output":
        assert b"trials" in done.stdout
    if way == "closed output":
        assert (home.path / "report" / "report.html").stat().st_size > 0


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "harness"],
        ["-m", "harness.sweep", "--help"],
        ["-m", "harness.spec", "--schema"],
        ["-m", "harness.plugins"],
    ],
    ids=lambda words: words[1],
)
def test_a_reader_that_leaves_ends_a_command_quietly(command: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    env = environment(tmp_path / "cache")
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=env, stdout=gone, stderr=subprocess.PIPE, timeout=240
        )
    assert done.stderr == b""
    # argparse itself passes over what it could not write.
    assert done.returncode in ((0, 141) if "--help" in command else (141,))


def test_a_full_disk_takes_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run(["-m", "harness.spec", "--schema"], tmp_path, "> /dev/full")
    said = done.stderr.decode()
    # Python without buffers cannot tell which file it was.
    assert said.count("\n") == 1
    assert said.startswith(("error: standard output: No space left", "error: a file: no space left on the disk"))
    assert done.returncode == 2


def test_a_sweep_whose_terminal_goes_away_runs_to_its_end(home: Home) -> None:
    new = home.path / "new"
    reading, writing = os.pipe()
    os.close(reading)
    command = warm(sweep_command(home.file, new, "--launcher", "inline"))
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            command, env=environment(home.cache), stdout=subprocess.PIPE, stderr=gone, cwd=home.path, timeout=300
        )
    assert done.returncode == 0
    assert str(new) in done.stdout.decode()
    assert (new / "report" / "report.html").exists()


def test_the_message_of_a_mistake_in_arguments_is_one_line(tmp_path: Path) -> None:
    done = run(["-m", "harness.sweep", "x.yaml", "--nowhere\x1b[31m"], tmp_path)
    said = "error: unrecognized arguments: --nowhere\\x1b[31m; python -m harness.sweep --help says what there is\n"
    assert (done.returncode, done.stderr.decode(), done.stdout) == (2, said, b"")
    done = run(["-m", "harness", "swep"], tmp_path)
    assert (done.returncode, done.stderr.decode()) == (2, "error: no command 'swep'; did you mean 'sweep'?\n")


ODD = "a\x1b[31mb\x07c\x9bd\u202ee\u2066f\x00g\x7fh"
ESCAPED = r"a\x1b[31mb\x07c\x9bd\u202ee\u2066f\x00g\x7fh"


def test_what_a_terminal_would_obey_is_shown_as_its_escape(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable(ODD) == ESCAPED
    assert printable("naïve – λ\xa0日本 é") == "naïve – λ\xa0日本 é"
    assert printable_lines(f"one\n{ODD}") == f"one\n{ESCAPED}"
    assert one_line("a\n b\r\x85c\x1b") == r"a b c\x1b"

    def refused() -> int:
        raise RequestError(f"{ODD}: no\nsuch")

    assert run_command(refused) == 2
    assert capsys.readouterr().err == f"error: {ESCAPED}: no such\n"


def test_a_console_shows_texts_as_they_are() -> None:
    out = io.StringIO()
    console = Console(file=out, width=300, force_terminal=False)
    table = Table("a", ODD)
    table.add_row("[red]x[/red]", ODD)
    console.print(f"[bold]{ODD}[/bold] :smile:")
    console.print(table)
    said = out.getvalue()
    assert said.startswith(f"[bold]{ESCAPED}[/bold] :smile:\n")
    assert said.count(ESCAPED) == 3
    assert "[red]x[/red]" in said
    assert all(sign.isprintable() or sign == "\n" for sign in said)


def test_colours_of_a_console_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="standard").print("x\x1b", style="red")
    assert out.getvalue() == "\x1b[31mx\\x1b\x1b[0m\n"


def test_a_trials_log_shows_escapes(tmp_path: Path) -> None:
    from types import SimpleNamespace
    from typing import Any, cast

    from harness.work.running import trial_log

    task = cast("Any", SimpleNamespace(title="t", folder=SimpleNamespace(log_path=tmp_path / "log.txt")))
    with trial_log(task) as log:
        assert isinstance(log, logging.Logger)
        log.info("failed: %s\nsecond line", ODD)
    (first, second) = (tmp_path / "log.txt").read_text().splitlines()
    assert first.endswith(f"failed: {ESCAPED}")
    assert second == "second line"
