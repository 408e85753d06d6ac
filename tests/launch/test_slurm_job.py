"""A job's own clock and files, whatever happens to the wall clock and to process ids."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.launch.pool import WorkerPool
from harness.launch.slurm.files import SlurmFiles
from harness.launch.slurm.job import LEAVE_SECONDS, SlurmJob
from harness.launch.slurm.profile import Profile
from harness.run.directory import RunDirectory


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmJob:
    """A job that found nothing to do a moment ago, beside an older one that idles as well."""
    files = SlurmFiles(RunDirectory(tmp_path))
    asked = Profile(time=30, grace=10, device="cpu").model_dump(mode="json")
    files.write_launch({"job_name": "n", "workers": 1, "threads": 1, "trials_per_device": 1, "profile": asked})
    other = {"job": "1", "restart": 0, "started": 0.0, "state": "running", "idle_since": time.time()}
    files.write_job(files.job_path("1", 0), other)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    found = SlurmJob(RunDirectory(tmp_path))
    pool: Any = SimpleNamespace(at=list, running=0)
    found._look_at(cast(WorkerPool, pool))
    return found


def test_a_step_of_the_clock_ends_no_job(job: SlurmJob, monkeypatch: pytest.MonkeyPatch) -> None:
    now, steady = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert not job._may_leave()
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "monotonic", lambda: steady + LEAVE_SECONDS + 1)
    assert job._may_leave()


def test_a_number_that_slurm_hands_out_again_is_recorded_again(tmp_path: Path) -> None:
    """By processes of one id on two nodes, or after a controller that lost its state."""
    files = SlurmFiles(RunDirectory(tmp_path))
    for _ in range(2):
        files.record_submission("12", 3)
    assert [entry["job"] for entry in files.submissions()] == ["12", "12"]
