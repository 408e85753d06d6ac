"""A sweep on a pretended cluster, through states that a real one does not produce on demand; needs no Slurm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from stand_in import StandIn
from tiny import environment, run_sweep, sweep_command, tiny_sweep

from harness.launch.slurm_files import SlurmFiles
from harness.run_comparison import repeated_work, run_differences
from harness.store import RunDirectory
from slurm.cluster.processes import wait_until


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
    run_sweep(file, tmp_path / "local", shared_cache)
    assert run_differences(RunDirectory(tmp_path / "local"), run) == []
