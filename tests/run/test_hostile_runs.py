"""A run directory may be a stranger's: commands that read it run no code of it, and stay inside of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from home import Home
from tiny import ROOT, environment, run_sweep
from warm import warm

from harness.run.directory import RunDirectory
from harness.work import worker

SECRET = "a-secret-outside-of-the-run"

COMMANDS = {
    "status": ["harness.status", "{run}", "--json"],
    "status --html": ["harness.status", "{run}", "--html", "{out}/status.html"],
    "doctor": ["harness.doctor", "{run}"],
    "doctor --fix": ["harness.doctor", "{run}", "--fix"],
    "export csv": ["harness.export", "{run}", "--to", "csv", "{out}/t.csv"],
    "export optuna": ["harness.export", "{run}", "--to", "optuna", "{out}/t.log"],
    "archive": ["harness.archive", "{run}", "--out", "{out}/run.zip"],
    "report": ["analysis.report", "{run}"],
    "checklist": ["analysis.checklist", "{run}", "--kind", "claim2024", "--out", "{out}/list.html"],
    "trace": ["analysis.trace", "{run}", "my_probe@zero_one", "--json"],
    "reproduce": ["analysis.reproduce", "{run}", "my_probe@zero_one"],
    "replay": ["harness.replay", "{run}"],
}
SCRIPT = """
import importlib, json, sys
for number, (module, *words) in enumerate(json.loads(sys.argv[1])):
    sys.stdout.write(f"\\n== {number} ")
    name = module + ".__main__" if module in ("harness.doctor", "harness.export", "harness.status") else module
    try:
        code = importlib.import_module(name).main(words)
    except SystemExit as error:
        code = error.code
    print("code", code, flush=True)
    assert code in (0, 1, 2), (module, code)
# Not ``ru_maxrss``, which counts what the process that started this one held.
with open("/proc/self/status") as stream:
    print("peak", next(int(line.split()[1]) // 1024 for line in stream if line.startswith("VmHWM")))
"""


def commands_on(
    run: Path,
    out: Path,
    home: Home,
    names: list[str] | None = None,
    start: Callable[[list[str]], list[str]] = list,
) -> subprocess.CompletedProcess[str]:
    """All commands one after the other in a process of their own, so that its memory can be measured.

    With ``start=warm`` it has the memory of what it was forked from.
    """
    out.mkdir(exist_ok=True)
    wanted = [
        [word.format(run=run, out=out) for word in words]
        for name, words in COMMANDS.items()
        if names is None or name in names
    ]
    return subprocess.run(
        start([sys.executable, "-c", SCRIPT, json.dumps(wanted)]), env=environment(home.cache), cwd=out, timeout=300,
        capture_output=True, text=True,
    )  # fmt: skip


def peak(done: subprocess.CompletedProcess[str]) -> int:
    """Megabytes."""
    return int(done.stdout.rpartition("peak ")[2])


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_code_of_the_run_is_run(home: Home, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    evil = f"import pathlib\npathlib.Path({str(marker)!r}).write_text('ran')\n"
    home.plugin.write_text(home.plugin.read_text() + evil)
    (home.path / "plugins" / "other.py").write_text(evil)
    spec = json.loads((home.run / "spec.json").read_text())
    (home.run / "spec.json").write_text(json.dumps({**spec, "plugins": [str(home.path / "plugins")]}))
    for copy in (home.run / "code").glob("*/") if (home.run / "code").exists() else ():
        (copy / "torch.py").write_text(evil)
    (home.run / "sitecustomize.py").write_text(evil)
    (home.search_trial / "checkpoint.pt").write_bytes(b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    done = commands_on(home.run, tmp_path / "out", home)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert not marker.exists()
    assert "whose code would run here" in done.stderr and "--code" in done.stderr
    # Where it is wanted it can be had.
    assert subprocess.run(
        warm([sys.executable, "-m", "harness.doctor", str(home.run), "--code"]), env=environment(home.cache),
        capture_output=True,
    ).returncode in (0, 1)  # fmt: skip
    assert marker.exists()


def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("secret", "spec.json", "trial.json", "result.json", "x.parquet"):
        (folder / name).write_text(json.dumps({"text": SECRET}))
    return folder


def test_a_sweep_that_resumes_a_strangers_run_runs_its_own_code_alone(home: Home, tmp_path: Path) -> None:
    home.sweep_with_workers(tmp_path / "run", expect=0)
    run, marker = RunDirectory(tmp_path / "run"), tmp_path / "marker"
    evil = f"import pathlib\npathlib.Path({str(marker)!r}).write_text('ran')\n"
    (copy,) = (path for path in run.code_folder().iterdir() if path.is_dir())
    for name in ("torch.py", "sitecustomize.py", "harness/json.py", "methods/zz_evil.py"):
        (copy / name).write_text(evil)
    for name in (Path(worker.__file__).relative_to(ROOT), "plugins/0/my_probe.py"):
        (copy / name).write_text(evil + (copy / name).read_text())
    (run.path / "sitecustomize.py").write_text(evil)
    for trial in run.trials():
        trial.result_path.unlink()
        trial.checkpoint_path.write_bytes(b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    # Only what really loads torch could be given another one.
    done = run_sweep(home.file, run.path, home.cache, "--repair", fresh=True)
    assert not marker.exists() and "Traceback" not in done.stderr
    assert all(trial.finished for trial in run.trials())


LINKS: dict[str, Callable[[Home], Path]] = {
    "predictions": lambda home: home.confirm_trial / "predictions.parquet",
    "curve": lambda home: home.search_trial / "curve.jsonl",
    "spec": lambda home: home.run / "spec.json",
    "report": lambda home: home.run / "report",
    "lock": lambda home: home.run / "lock",
    "study": lambda home: home.study,
    "trial": lambda home: home.confirm_trial,
    "set_aside": lambda home: home.run / "set_aside",
    "result": lambda home: home.confirm_trial / "result.json",
    "request": lambda home: home.confirm_trial / "trial.json",
    "lease": lambda home: home.search_trial / "lease.0001",
    "choice": lambda home: home.study / "chosen.json",
    "environment": lambda home: home.run / "environment.json",
    "declaration": lambda home: home.run / "declaration.json",
    "plan": lambda home: home.run / "plan.json",
    "index": lambda home: home.run / "results.index",
    "card": lambda home: home.run / "cards" / "zero_one.json",
    "picture": lambda home: home.run / "cards" / "zero_one.png",
    "figure": lambda home: next((home.run / "report" / "figures").glob("*.png")),
    "state": lambda home: home.run / "report" / "state",
}


FEW = ("predictions", "report", "lock", "trial")


@pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(name, marks=pytest.mark.large) for name in LINKS if name not in FEW)]
)
def test_links_lead_nowhere(name: str, home: Home, tmp_path: Path) -> None:
    place = LINKS[name](home)
    folder = outside(tmp_path)
    is_folder = "." not in place.name
    if place.is_dir():
        shutil.rmtree(place)
    elif place.exists():
        place.unlink()
    place.symlink_to(folder if is_folder else folder / "secret")
    (home.search_trial / "checkpoint.pt").write_bytes(b"orphan") if home.search_trial.is_dir() else None
    before = files_of(folder)
    done = commands_on(home.run, tmp_path / "out", home, start=warm)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    assert files_of(folder) == before, "something outside was written"
    written = files_of(tmp_path / "out")
    inside = {path: path.read_bytes() for path in home.run.rglob("*") if path.is_file() and not path.is_symlink()}
    for where, content in [*written.items(), *inside.items(), ("printed", (done.stdout + done.stderr).encode())]:
        assert SECRET.encode() not in content, where


def test_names_in_files_lead_nowhere(home: Home) -> None:
    run = RunDirectory(home.run)
    from harness.core.errors import RequestError

    for name in ("../../x", "/etc", "..", "a/b", "", "a\0b"):
        for ask in (run.study, run.source):
            with pytest.raises(RequestError):
                ask(name)
    for name in ("../../x", "/etc", "a/b", "a\0b"):
        for ask in (run.split, lambda text: run.study("a@b").confirm_trial(text, 0)):
            with pytest.raises(RequestError):
                ask(name)


def test_memory_stays_bounded(home: Home, tmp_path: Path) -> None:
    """Each file in turn is a bomb: of JSON, of Parquet, of zeros."""
    import numpy as np
    import polars as pl

    deep, wide = b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"a": [' + b"[]," * 30_000_000 + b"1]}"
    pl.DataFrame({"case_id": np.zeros(1 << 27, dtype=np.int64)}).write_parquet(
        home.confirm_trial / "predictions.parquet"
    )
    (home.confirm_trial / "result.json").write_bytes(deep)
    (home.search_trial / "result.json").write_bytes(wide)
    (home.search_trial / "curve.jsonl").write_bytes(b"{}\n" * 10_000_000)
    (home.run / "cards" / "zero_one.json").write_bytes(wide)
    with (home.run / "results.index").open("wb") as stream:
        stream.truncate(20 << 30)
    groups = (["status", "doctor", "replay"], ["report", "trace"], ["export csv", "archive"], ["reproduce"])
    for number, names in enumerate(groups):
        done = commands_on(home.run, tmp_path / f"out{number}", home, names)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-3000:]
        assert peak(done) < 1000, names
