"""A sweep on a pretended cluster, through states that a real one does not produce on demand; needs no Slurm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from stand_in import Settings, StandIn
from tiny import environment, run_inline, sweep_command, tiny_sweep

from harness.launch.slurm.commands import SlurmError
from harness.launch.slurm.files import SlurmFiles
from harness.launch.slurm.job import run_worker
from harness.launch.slurm.profile import Profile
from harness.launch.slurm.submit import top_up
from harness.proof.comparison import repeated_work, run_differences
from harness.run.directory import RunDirectory
from slurm.cluster.processes import wait_until


@pytest.fixture
def stand_in_settings() -> Settings:
    """A job that was requeued has long enough to look at its state, on a busy machine too."""
    return Settings(kill_wait=10.0)


@pytest.mark.large
def test_a_sweep_is_preempted_doubled_and_run_again(
    stand_in_slurm: StandIn, tmp_path: Path, shared_cache: Path
) -> None:
    file = tiny_sweep(
        tmp_path,
        methods=["full_finetune"],
        train={"epochs": 20, "batch_size": 8, "image_size": 8},
        search={"trials": 1},
        confirm={"seeds": 1},
    )
    profile = tmp_path / "profile.yaml"
    profile.write_text(json.dumps({"cpus": 1, "time": 30, "grace": 10, "device": "cpu"}))

    def sweep(*extra: str) -> str:
        words = sweep_command(file, tmp_path / "run", "--launcher", "slurm", "--set", f"launch.profile={profile}")
        done = subprocess.run([*words, *extra], env=environment(shared_cache), capture_output=True, text=True)
        return f"{done.returncode} {done.stderr}"

    assert "submitted 1 job:" in sweep()
    run = RunDirectory(tmp_path / "run")
    assert wait_until(lambda: any(run.trials()), 90)
    trial = next(iter(run.trials()))
    job = SlurmFiles(run).submissions()[0]["job"]

    def wait_for_attempt(number: int) -> None:
        assert wait_until(lambda: len(trial.attempts()) >= number and len(trial.curve()) > number, 120)

    wait_for_attempt(1)
    stand_in_slurm.preempt(job)
    wait_for_attempt(2)
    assert trial.attempts()[0]["released"] == "interrupted"
    # Two copies of one job: the younger takes the trial over, the older finds that out and writes nothing more.
    stand_in_slurm.hang(job)
    wait_for_attempt(3)
    assert [attempt["slurm_restart"] for attempt in trial.attempts()] == [0, 1, 2]
    stand_in_slurm.controller_down()
    assert sweep().startswith("2 error: ")
    stand_in_slurm.controller_up()
    assert wait_until(run.report_state.exists, 180)
    stand_in_slurm.wait_for(job, "COMPLETED")
    stand_in_slurm.finish_twice(job)
    assert wait_until(lambda: len(SlurmFiles(run).jobs()) == 4, 60)
    assert repeated_work(run) == []
    # Each start of the job imported the copy of the code that the launch made.
    current = (run.code_folder() / "current").read_text().strip()
    assert {attempt["code"] for one in run.trials() for attempt in one.attempts()} == {current}
    run_inline(file, tmp_path / "local", shared_cache, report=False)
    assert run_differences(RunDirectory(tmp_path / "local"), run) == []


def planned(folder: Path, **profile: Any) -> SlurmFiles:
    """What a run directory knows after a submission was asked for."""
    files = SlurmFiles(RunDirectory(folder / "run"))
    files.write_launch(
        {
            "job_name": "tiny-1234",
            "workers": 4,
            "threads": 1,
            "trials_per_device": 1,
            "profile": Profile(time=30, grace=10, device="cpu", **profile).model_dump(mode="json"),
            "roots": {"data": str(folder), "cache": str(folder)},
            "datasets": [str(folder / "small-8px")],
            "folder": str(folder),
            "code": str(folder / "run" / "code"),
        }
    )
    return files


def test_what_slurm_refuses_leaves_no_files(stand_in_slurm: StandIn, tmp_path: Path) -> None:
    files = planned(tmp_path, partition="nope")
    for claimable in (1, 4):
        with pytest.raises(SlurmError, match="nvalid partition"):
            top_up(RunDirectory(tmp_path / "run"), claimable, run_worker)
    assert list(files.log.iterdir()) == [] == files.submissions()


def test_a_copy_to_scratch_ends_when_the_job_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose time ends meanwhile would not be started again."""
    files = planned(tmp_path, scratch=str(tmp_path))
    files.set_cancelled(True)  # or it would ask Slurm to be started again
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    def copy_for_long(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(60)

    monkeypatch.setattr("harness.launch.slurm.staging.stage", copy_for_long)
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGUSR2, signal.SIGTERM)}
    try:
        assert run_worker(str(tmp_path / "run"), 0) == "stopped"
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    assert [record.content["state"] for record in files.jobs()] == ["stopped"]


@pytest.mark.parametrize("allowed", [True, False])
def test_a_job_whose_requeue_is_accepted_submits_no_other(
    allowed: bool,
    stand_in_slurm: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The TERM that follows ends the command that has asked for it, too."""
    words = ["--requeue" if allowed else "--no-requeue", "--wrap=trap '' TERM; sleep 60 & wait", "--output=/dev/null"]
    number = stand_in_slurm.run("sbatch", "--parsable", *words).stdout.strip()
    stand_in_slurm.wait_for(number, "RUNNING")
    scontrol = shutil.which("scontrol")
    programs = tmp_path / "bin"
    programs.mkdir()
    ends_with_its_job = f'#!/bin/sh\n"{scontrol}" "$@" && test $1 = requeue && kill -TERM $PPID $$\n'
    (programs / "scontrol").write_text(ends_with_its_job)
    (programs / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join((str(programs), os.environ["PATH"])))
    monkeypatch.setenv("SLURM_JOB_ID", number)
    # Nothing that it submits is started.
    files = planned(tmp_path, scratch=str(tmp_path), partition="nope")
    monkeypatch.setattr("harness.launch.slurm.staging.stage", lambda *_: os.kill(os.getpid(), signal.SIGUSR2))
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGUSR2, signal.SIGTERM)}
    try:
        outcome = run_worker(str(tmp_path / "run"), 0)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    assert outcome == ("requeued" if allowed else "stopped")
    assert [record.content["state"] for record in files.jobs()] == [outcome]
    assert ("no more jobs submitted" in capsys.readouterr().err) is not allowed
