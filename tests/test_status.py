"""How a run stands, from its files, whatever Slurm says or does not say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from home import Home, one_error
from tiny import ROOT, environment

from harness import status
from harness.launch.slurm_files import STALE_SECONDS, SlurmFiles
from harness.lease import EXPIRY_SECONDS, Lease
from harness.run_status import StatusReader
from harness.spec import SweepSpec
from harness.store import RunDirectory, StudyFolder, TrialFolder

EPOCHS = 10
SECONDS = 100.0
"""How long each made-up trial took."""


def make_run(
    path: Path, methods: Sequence[str], slots: int = 3, source: str | None = None, **confirm: Any
) -> RunDirectory:
    """A planned run of made-up studies on one dataset, of which nothing has begun."""
    weights = None if source is None else {"method": "teacher", "dataset": "digits", "train": {"epochs": 20}}
    spec = SweepSpec.model_validate(
        {
            "name": "made_up",
            "backbone": {"name": "resnet20", "weights": weights},
            "datasets": {"small": {"dataset": "digits"}},
            "methods": {label: {"method": label} for label in methods},
            "train": {"epochs": EPOCHS},
            "search": {"trials": slots, "seeds": [0], "metric": "nll"},
            "confirm": {"seeds": [1000, 1001], "repeat": False, **confirm},
        }
    )
    run = RunDirectory(path)
    run.create()
    for label in methods:
        described = {
            "backbone": {"name": "resnet20", "weights": None if source is None else {"source": source}},
            "search_slots": slots,
            "search_seeds": [0],
            "confirm_seeds": [1000, 1001],
            "identity": {"search": {"metric": "nll"}, "train": {"epochs": EPOCHS}},
        }
        run.study(f"{label}@small").describe(described)
    run.write_spec(spec.model_dump(mode="json"))
    return run


def finish(trial: TrialFolder, score: float | None = 0.5, cause: str = "nan", message: str = "no number") -> None:
    """Finish a trial with a validation score, or let it fail."""
    lease = trial.claim()
    assert lease is not None
    outcome: dict[str, Any] = {"status": "failed", "cause": cause, "message": message}
    if score is not None:
        outcome = {"status": "done", "cause": None, "message": None, "metrics": {"val": {"nll": score}}}
    trial.finish({**outcome, "time": {"attempt_seconds": SECONDS, "train_seconds": SECONDS / 2}})
    lease.release("finished")


def begin(trial: TrialFolder, epochs: int, age: float = 0.0, **facts: Any) -> Lease:
    """Let a worker of another host hold a trial."""
    lease = trial.claim(**facts)
    assert lease is not None
    lease.note(host="elsewhere", hostname="node7")
    trial.write_curve([{"epoch": epoch} for epoch in range(epochs)])
    heard = time.time() - age
    os.utime(lease.path, (heard, heard))
    return lease


def choose(study: StudyFolder, of: int) -> None:
    study.choose({"configuration": "c0ffee", "of": of})


def facts(run: RunDirectory) -> dict[str, Any]:
    """What ``--json`` says of a run."""
    return StatusReader(run).read().to_json()


def shown(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints."""
    assert status.main([str(run.path)]) == 0
    return capsys.readouterr().out


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
    source.write_request({"method": "teacher", "dataset": "digits", "hyperparameters": {}, "seed": 0})
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
                json.dumps({"status": "done", "metrics": {"val": {"nll": 0.1, "confusion": [[0] * 9] * 9}}})
            )
            (trial.path / "lease.0001").write_text("{}")
        begin(study.confirm_trial("c0ffee", 1000), 3)
        choose(study, of=98)
    reads = []
    plain = TrialFolder.result

    def counted(trial: TrialFolder) -> dict[str, Any]:
        reads.append(trial.path)
        return plain(trial)

    monkeypatch.setattr(TrialFolder, "result", counted)
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


def slurm(run: RunDirectory, jobs: Mapping[str, Mapping[str, Any]], tasks: int = 0) -> SlurmFiles:
    """A run that was launched on Slurm: its jobs' own files, and an array that was submitted."""
    files = SlurmFiles(run)
    files.write_launch({"job_name": "made_up-1234", "workers": tasks, "profile": {}})
    if tasks:
        files.record_submission("7", tasks)
    for job, content in jobs.items():
        path = files.job_path(job, content.get("restart", 0))
        files.write_job(path, {"job": job, "restart": 0, "host": "n1", "started": time.time(), **content})
        heard = time.time() - content.get("age", 0)
        os.utime(path, (heard, heard))
    return files


def commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> Path:
    """Slurm's commands as shell scripts, which note each call; no others are found."""
    folder.mkdir()
    for name, body in scripts.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/{name}.calls\n{body}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin" if scripts else str(folder))
    return folder


STALE = STALE_SECONDS + 60


def test_a_worker_is_what_the_files_say_then_the_queue_then_the_accounting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", ["m"])
    begin(run.study("m@small").search_trial(0, 0), 1, slurm_job="7_1")
    slurm(
        run,
        {
            "7_0": {"state": "running", "until": 2e9},
            "7_1": {"state": "running", "age": STALE},
            "7_2": {"state": "done"},
            "7_5": {"state": "running", "age": STALE},
            "7_6": {"state": "running", "age": STALE},
            "7_7": {"state": "requeued", "age": STALE},
            "7_8": {"state": "refused", "reason": "no such data"},
            "7_9": {"state": "stopped", "reason": "ended by Slurm"},
        },
        tasks=13,
    )
    queue = [
        "7_3|PENDING||Priority", "7_4|RUNNING|n2|None", "7_5|RUNNING|n3|None", "7_7|RUNNING|n4|None",
        "7_9|PENDING||BeginTime", "7_10|CANCELLED||None", "7_0|CANCELLED||None",
    ]  # fmt: skip
    book = ["7_6|NODE_FAIL|0:0", "7_6.batch|CANCELLED|0:15", "7_11|FAILED|1:0", "7_11.batch|OUT_OF_MEMORY|0:125"]
    folder = commands(
        tmp_path / "bin", monkeypatch,
        squeue="cat <<END\n" + "\n".join(queue) + "\nEND", sacct="cat <<END\n" + "\n".join(book) + "\nEND",
    )  # fmt: skip
    reader = StatusReader(run)
    workers = {worker.id: (worker.state, worker.reason) for worker in reader.read().workers.states}
    assert workers == {
        "7_0": ("running", ""),
        "7_1": ("running", ""),
        "7_2": ("done", ""),
        "7_3": ("queued", "Priority"),
        "7_4": ("starting", "RUNNING on n2"),
        "7_5": ("not responding", "RUNNING on n3"),
        "7_6": ("lost", "NODE_FAIL"),
        "7_7": ("starting", "RUNNING on n4"),
        "7_8": ("refused", "no such data"),
        "7_9": ("queued", "BeginTime"),
        "7_10": ("cancelled", "CANCELLED"),
        "7_11": ("lost", "OUT_OF_MEMORY"),
        "7_12": ("lost", ""),
    }
    # Who watches does not press Slurm for answers.
    reader.read()
    assert len((folder / "squeue.calls").read_text().splitlines()) == 1
    assert "--name=made_up-1234" in (folder / "squeue.calls").read_text()
    text = shown(run, capsys)
    assert "  queued: 7_3 (Priority), 7_9 (BeginTime)" in text
    assert "  lost: 7_6 (NODE_FAIL), 7_11 (OUT_OF_MEMORY), 7_12" in text


def test_a_run_without_jobs_names_the_command_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", ["m"], slots=1)
    files = slurm(run, {"7_0": {"state": "stopped", "reason": "ended by Slurm", "restart": 1}}, tasks=1)
    # The node of its first start died a moment before.
    earlier = {"job": "7_0", "restart": 0, "started": time.time() - 60, "state": "running"}
    files.write_job(files.job_path("7_0", 0), earlier)
    assert [record.content["restart"] for record in files.latest_starts()] == [1]
    files.write_launch({**files.launch(), "command": "cd here && python -m harness.sweep it.yaml"})
    commands(tmp_path / "queued", monkeypatch, squeue="echo '7_0|PENDING||BeginTime'", sacct="true")
    assert not facts(run)["no_job_left"]
    commands(tmp_path / "silent", monkeypatch, squeue="echo timed out >&2; exit 1", sacct="true")
    assert not facts(run)["no_job_left"], "nobody can know"
    commands(tmp_path / "gone", monkeypatch, squeue="true", sacct="true")
    told = "no job is left, and 3 trials are not done; go on with: cd here && python -m harness.sweep it.yaml"
    assert told in shown(run, capsys)
    finish(run.study("m@small").search_trial(0, 0), None)
    assert "no job is left to write the report; write it with: cd here" in shown(run, capsys)


def test_a_sweep_that_makes_no_sense_to_go_on_with_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", ["first", "second"])
    for label in ("first", "second"):
        assert facts(run)["halted"] is None
        for slot in range(2):
            finish(run.study(f"{label}@small").search_trial(slot, 0), None, "bug", "KeyError: 'x'")
    found = facts(run)
    assert found["complete"] and found["trials"]["left"] == 6
    why = "stopped: the first trials of every method failed alike: bug: KeyError: 'x'; mend the cause"
    assert why in shown(run, capsys) and "--retry-failed" in shown(run, capsys)
    finish(run.study("first@small").search_trial(2, 0))
    assert facts(run)["halted"] is None


def test_without_accounting_the_queue_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run", ["m"])
    slurm(run, {"7_0": {"state": "running", "age": STALE}}, tasks=2)
    refusal = "echo 'Slurm accounting storage is disabled' >&2; exit 1"
    commands(tmp_path / "bin", monkeypatch, squeue="echo '7_1|PENDING||Resources'", sacct=refusal)
    found = facts(run)
    assert [(worker["state"], worker["reason"]) for worker in found["workers"]] == [
        ("lost", ""), ("queued", "Resources")
    ]  # fmt: skip
    assert found["slurm_trouble"] is None


@pytest.mark.parametrize(
    ("scripts", "reason", "said"),
    [
        ({"squeue": "exec sleep 60"}, "Slurm is silent", "no answer from Slurm"),
        (
            {"squeue": "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"},
            "Slurm is silent",
            "Unable to contact slurm controller",
        ),
        ({}, "no Slurm here", "squeue: not found"),
    ],
)
def test_while_slurm_is_silent_the_files_speak(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scripts: dict[str, str],
    reason: str,
    said: str,
) -> None:
    run = make_run(tmp_path / "run", ["m"])
    finish(run.study("m@small").search_trial(0, 0))
    slurm(run, {"7_0": {"state": "running"}}, tasks=2)
    commands(tmp_path / "bin", monkeypatch, **scripts)
    started = time.monotonic()
    text = shown(run, capsys)
    assert time.monotonic() - started < 5
    assert "1/5 trials done" in text and f"  unknown: 7_1 ({reason})" in text
    (line,) = [line for line in text.splitlines() if line.startswith("Slurm could not be asked: ")]
    assert said in line


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


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path / "none"), env=environment(tmp_path), capture_output=True, text=True)
    one_error(done.returncode, done.stderr, str(tmp_path / "none"), "no run directory")
    done = subprocess.run(command("--watch", tmp_path), env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 2 and "is no number of seconds" in done.stderr


def test_it_loads_neither_torch_nor_plugins(home: Home) -> None:
    code = (
        "import sys; from harness.status import main, parser; parser(); few = len(sys.modules); main(sys.argv[1:])\n"
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
