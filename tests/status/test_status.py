"""How a run stands, from its files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import made_up_records
import pytest
from home import Home, one_error
from made_up_runs import EPOCHS, SECONDS, begin, choose, facts, finish, make_run, shown, slurm
from tiny import ROOT, environment

from harness.core.lease import EXPIRY_SECONDS
from harness.run.directory import RunDirectory
from harness.run.spent import Spent
from harness.run.trial import TrialFolder
from harness.status import __main__ as status
from harness.status.devices import device_use
from harness.status.status import StatusReader
from harness.studies.overview import Ledger, RunOverview, StudyOverview


def test_studies_failures_and_running_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", ["first", "second"])
    first, second = run.study("first@small"), run.study("second@small")
    assert "expected end: unknown (no trial is running)" in shown(run, capsys)
    begin(second.search_trial(0, 0), 0)
    assert "expected end: unknown (no trial is done yet)" in shown(run, capsys)
    for slot, score in enumerate((0.7, 0.4, None)):
        finish(first.search_trial(slot, 0), score)
    choose(first, of=3)
    begin(first.confirm_trial("c0ffee", 1000), 5, age=30.0)
    begin(first.confirm_trial("c0ffee", 1001), 5, age=EXPIRY_SECONDS + 10)
    finish(second.search_trial(1, 0), None, "oom", "GPU [cuda:0] is full")
    finish(second.search_trial(2, 0), None, "nan", "again")

    found = facts(run)
    keys = ("name", "total", "done", "running", "failed", "interrupted", "left", "best")
    assert [[row[key] for key in keys] for row in found["studies"]] == [
        ["first@small", 5, 2, 1, 1, 1, 2, 0.4],
        ["second@small", 5, 0, 1, 2, 0, 3, None],
    ]
    trials = {"total": 10, "done": 2, "pruned": 0, "running": 2, "failed": 3, "interrupted": 1, "left": 5}
    assert found["trials"] == trials
    assert [(entry["cause"], entry["count"]) for entry in found["failures"]] == [("nan", 2), ("oom", 1)]
    held = found["running"][0]
    assert (held["trial"], held["epoch"], held["epochs"], held["host"]) == ("c0ffee-s1000", 5, EPOCHS, "node7")
    assert 29 < held["lease_age"] < 60
    # Five trials of 100 s are left, of which one is half done, and two run at a time.
    assert found["seconds_left"] == pytest.approx((5 - 0.5) * SECONDS / 2)
    # The attempts that live elsewhere and the one that expired have used what their leases show.
    first_used, second_used = found["ledger"]
    assert [first_used[key] for key in ("slots", "slots_begun", "trials", "attempts")] == [3, 3, 5, 5]
    assert [second_used[key] for key in ("slots", "slots_begun", "trials", "failed")] == [3, 3, 3, 2]
    used = sum(row["device_seconds"] for row in found["ledger"])
    assert found["budget"] == {
        "device_hours": None, "used_device_hours": pytest.approx(used / 3600), "exhausted": False
    }  # fmt: skip
    text = shown(run, capsys)
    assert "failed: 2 × nan, such as first@small search 0002-s0: no number" in text
    assert "failed: 1 × oom, such as second@small search 0001-s0: GPU [cuda:0] is full" in text
    assert "made_up: 5/10 trials done, 3 failed, 2 running, 1 interrupted" in text
    assert "5/10" in text and "(in 4 min)" in text


def test_what_is_to_come_is_counted_as_the_sweep_counts_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["m"], slots=2, repeat=True)
    study = run.study("m@small")

    def counts() -> tuple[int, int, bool]:
        (row,) = facts(run)["studies"]
        return row["total"], row["left"], row["complete"]

    assert counts() == (5, 5, False)
    finish(study.search_trial(0, 0))
    finish(study.search_trial(1, 0))
    # The search has grown since it chose this one.
    choose(study, of=1)
    finish(study.confirm_trial("c0ffee", 1000), None)
    assert counts() == (5, 3, False)
    # What is repeated has failed, so that there is nothing to repeat.
    choose(study, of=2)
    assert counts() == (4, 1, False)
    finish(study.confirm_trial("c0ffee", 1001))
    assert counts() == (4, 0, True)

    hopeless = make_run(tmp_path / "hopeless", ["m"], slots=1)
    finish(hopeless.study("m@small").search_trial(0, 0), None)
    found = facts(hopeless)
    assert found["complete"] and found["trials"]["left"] == 0


def test_a_backbone_that_is_trained_first_and_what_waits_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = "0123456789abcdef" * 4
    run = make_run(tmp_path / "run", ["first", "second"], source=identity)
    source = run.source(identity[:16])
    assert facts(run)["sources"][0]["left"] == 1
    lease = begin(source, 4)
    source.write_request(made_up_records.request("source", method="teacher", dataset="digits"))
    (held,) = facts(run)["running"]
    assert (held["study"], held["epoch"], held["epochs"]) == ("backbone teacher on digits", 4, 20)
    lease.release("interrupted")
    finish(source, None)
    found = facts(run)
    assert found["complete"] and [row["blocked"] for row in found["studies"]] == [True, True]
    assert "blocked: first@small: its backbone could not be trained" in shown(run, capsys)


def test_a_finished_sweep_and_its_report(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(home.run)
    found = facts(run)
    assert found["complete"] and found["expected_end"] is None and found["trials"]["done"] == 2
    assert found["report"] == {"state": "current", "page": str(run.report / "report.html")}
    assert "complete\nreport: " in shown(run, capsys)
    (home.confirm_trial / "result.json").unlink()
    assert "report: older than the results" in shown(run, capsys)
    shutil.rmtree(run.report)
    assert "report: not written yet" in shown(run, capsys)


def test_it_leaves_nothing_behind_and_needs_no_right_to_write(tmp_path: Path, small_disk: Callable[..., Path]) -> None:
    run = make_run(small_disk("size=1m") / "run", ["m"])
    begin(run.study("m@small").search_trial(0, 0), 1, slurm_job="7_0")
    slurm(run, {"7_0": {"state": "running"}})
    before = sorted(run.path.rglob("*"))
    assert facts(run)["trials"]["running"] == 1 and sorted(run.path.rglob("*")) == before
    small_disk("ro")
    found = facts(run)
    assert found["trials"]["running"] == 1 and found["workers"][0]["state"] == "running"


def test_damaged_files_are_named_and_the_rest_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", ["m"])
    trial = run.study("m@small").search_trial(0, 0)
    finish(trial)
    trial.result_path.write_text("{")
    finish(run.study("m@small").search_trial(1, 0))
    found = facts(run)
    assert found["damaged"] == [str(trial.result_path)] and found["trials"]["done"] == 1
    assert f"damaged: {trial.result_path}" in shown(run, capsys)


def test_a_thousand_trials_are_read_in_a_second_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run", [f"m{number}" for number in range(10)], slots=98)
    for study in run.studies():
        for slot in range(98):
            trial = study.search_trial(slot, 0)
            trial.create()
            trial.result_path.write_text(
                json.dumps(made_up_records.result(metrics={"val": {"nll": 0.1, "confusion": [[0] * 9] * 9}}))
            )
            (trial.path / "lease.0001").write_text("{}")
        begin(study.confirm_trial("c0ffee", 1000), 3)
        choose(study, of=98)
    reads = []

    def counted(name: str) -> None:
        plain = getattr(TrialFolder, name)
        monkeypatch.setattr(TrialFolder, name, lambda trial: reads.append(trial.path) or plain(trial))

    # By itself, and many at once.
    counted("result")
    counted("read_result")
    reader = StatusReader(run)
    durations = []
    for _ in range(3):
        # Not by the clock on the wall, which others' work on the machine moves.
        started = time.process_time()
        found = reader.read().to_json()
        durations.append(time.process_time() - started)
        assert found["trials"] == {
            "total": 1000, "done": 980, "pruned": 0, "running": 10, "failed": 0, "interrupted": 0, "left": 20
        }  # fmt: skip
    assert durations[0] < 1.0 and min(durations[1:]) < durations[0]
    finished = [path for path in reads if (path / "result.json").exists()]
    assert len(finished) == len(set(finished)) == 980


def test_a_sweep_that_makes_no_sense_to_go_on_with_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", ["first", "second"])
    for label in ("first", "second"):
        assert facts(run)["halted"] is None
        for slot in range(2):
            finish(run.study(f"{label}@small").search_trial(slot, 0), None, "bug", "KeyError: 'x'")
    found = facts(run)
    assert found["complete"] and found["trials"]["left"] == 6
    why = "stopped: the first trials of every method failed alike: bug: KeyError: 'x'; fix the cause"
    assert why in shown(run, capsys) and "--retry-failed" in shown(run, capsys)
    finish(run.study("first@small").search_trial(2, 0))
    assert facts(run)["halted"] is None


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "harness.status", *map(str, words)]


def test_watching_ends_with_the_run_and_on_ctrl_c(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["m"], slots=1)
    finish(run.study("m@small").search_trial(0, 0))
    choose(run.study("m@small"), of=1)

    def watch() -> subprocess.Popen[str]:
        words = command(run.path, "--json", "--watch", "0.1")
        pipe = subprocess.PIPE
        return subprocess.Popen(words, env=environment(tmp_path), stdout=pipe, stderr=pipe, text=True)

    interrupted = watch()
    assert interrupted.stdout is not None
    assert json.loads(interrupted.stdout.readline())["trials"]["left"] == 2
    interrupted.send_signal(signal.SIGINT)
    _, errors = interrupted.communicate(timeout=30)
    assert interrupted.returncode == 130 and "Traceback" not in errors

    watching = watch()
    assert watching.stdout is not None
    assert not json.loads(watching.stdout.readline())["complete"]
    for seed in (1000, 1001):
        finish(run.study("m@small").confirm_trial("c0ffee", seed))
    output, _ = watching.communicate(timeout=30)
    assert watching.returncode == 0 and json.loads(output.splitlines()[-1])["complete"]


def test_a_page_that_loads_itself_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, page = make_run(tmp_path / "run", ["m"], slots=2), tmp_path / "page.html"
    study = run.study("m@small")
    finish(study.search_trial(0, 0), None, "bug", "<script>alert('&')</script>")
    begin(study.search_trial(1, 0), 5)
    assert status.main([str(run.path), "--html", str(page)]) == 0
    text = page.read_text()
    assert '<meta http-equiv="refresh" content="60">' in text
    assert "&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;" in text and "<script" not in text
    assert "0 of 4 done, 1 failed, 1 running" in text
    assert "m@<wbr>small" in text and "0001-s0" in text and f"5/{EPOCHS}" in text
    # Nothing is fetched.
    assert re.findall(r"src=|href=|url\(|@import", text) == []

    other = make_run(tmp_path / "other", ["m"], slots=1)
    finish(other.study("m@small").search_trial(0, 0), None)
    # It would go on for ever if the run were not over.
    assert status.main([str(other.path), "--html", str(page), "--watch"]) == 0
    assert "refresh" not in page.read_text()
    capsys.readouterr()
    assert status.main([str(other.path), "--html", str(tmp_path / "none" / "page.html")]) == 2
    one_error(2, capsys.readouterr().err, "--html", "No such file or directory")


def test_device_use(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = ((0.0, 100.0), (100.0, 150.0), (20.0, 80.0))
    part = StudyOverview(
        "m@d", 3, 3, 0, "auc", 0.5, True, (), (), (), (), spans=spans, ledger=Ledger(spent=Spent(3, 210.0))
    )
    use = device_use(RunOverview("r", (part,), (), (), (), True), 1e9)
    assert use is not None and (use.places, use.since, use.until) == (2, 0.0, 150.0)
    assert use.share == pytest.approx(210 / 300)
    real = facts(RunDirectory(home.run))
    assert real["devices"]["places"] == 1 and 0.1 < real["devices"]["share"] <= 1.0
    assert real["devices"]["busy_seconds"] == pytest.approx(sum(row["device_seconds"] for row in real["ledger"]))

    run = make_run(tmp_path / "run", ["m"])
    assert facts(run)["devices"] is None
    lease = begin(run.study("m@small").search_trial(0, 0), 1, device="cuda:0")
    driver = tmp_path / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    monkeypatch.setenv("PATH", f"{driver.parent}:/usr/bin:/bin")
    for answer, known in (("87\n3", [87, 3]), ("[N/A]", None)):
        driver.write_text(f"#!/bin/sh\necho '{answer}'\n")
        driver.chmod(0o755)
        lease.note(hostname="node7")
        assert facts(run)["gpus_here"] is None, "its GPU is another machine's"
        lease.note(hostname=socket.gethostname())
        assert facts(run)["gpus_here"] == known


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path / "none"), env=environment(tmp_path), capture_output=True, text=True)
    one_error(done.returncode, done.stderr, str(tmp_path / "none"), "no run directory")
    done = subprocess.run(command("--watch", tmp_path), env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 2 and "is not a number of seconds" in done.stderr


def test_it_loads_neither_torch_nor_plugins(home: Home) -> None:
    code = (
        "import sys; from harness.status.__main__ import main, parser\n"
        "parser(); few = len(sys.modules); main(sys.argv[1:])\n"
        "heavy = {'torch', 'polars', 'scipy', 'optuna', 'matplotlib', 'submitit', 'harness.plugins', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), few)"
    )
    words = [sys.executable, "-c", code, str(home.run)]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    loaded, few = done.stdout.splitlines()[-1].rsplit(" ", 1)
    # So that --help answers at once, which needs the command line alone.
    assert loaded == "[]" and int(few) < 200
