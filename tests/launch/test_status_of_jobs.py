"""What became of a run's jobs, whatever Slurm says or does not say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from made_up_runs import begin, facts, finish, make_run, shown, slurm

from harness.launch.slurm.files import STALE_SECONDS
from harness.status.status import StatusReader


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
